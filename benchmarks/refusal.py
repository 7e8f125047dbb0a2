"""What it takes to refuse two images: with all that is searched where nothing is accepted, and without a stretch.

python -m benchmarks.refusal --data FOLDER deepclem-s6 birl-kidney
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.protocol import load_pairs
from correlight.images.image import Image
from correlight.registration.register import register

NOT_STRETCHED = 1.0, 1.0


def main() -> None:
    """Register the fixed image of one pair with the moving image of another, twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pairs.json")
    parser.add_argument("fixed", help="name of the pair whose fixed image is taken")
    parser.add_argument("moving", help="name of the pair whose moving image is taken")
    asked = parser.parse_args()
    pairs = {pair.name: pair for pair in load_pairs(asked.data)}
    pixels = pairs[asked.fixed].fixed, pairs[asked.moving].moving
    fixed, moving = (Image.from_array(one, rgb=one.ndim == 3 and len(one) == 3) for one in pixels)
    for words, stretch in (("without a stretch", NOT_STRETCHED), ("with a stretch", None)):
        began, busy = time.perf_counter(), time.process_time()
        found = register(fixed, moving, stretch=stretch)
        seconds, processor = time.perf_counter() - began, time.process_time() - busy
        print(f"{asked.fixed} with {asked.moving}, {words}: {found.status}, {seconds:.1f} s, {processor:.1f} CPU s")


if __name__ == "__main__":
    main()
