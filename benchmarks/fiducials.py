"""How well constellations of beads are found, how exact they are, and how often unrelated beads are believed.

``python -m benchmarks.fiducials`` simulates pairs as a light microscope and a scanning electron microscope would see
them (511 x 511 pixels of 40 nm, 60 beads in either image, 20 nm localisation noise per axis and image, any rotation,
mirror and position, scale unknown within a factor of three either way, shear and unequal scales within 2 %) and writes
one table line per setting to ``benchmarks/results/fiducials.md``. The published algorithm
(`correlight.search.two_neighbours`) sees the same pairs in the same run: it is the peer for success and time. Seconds
are of the processor, so that a busy machine does not change them.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from correlight.search.constellation import match_constellations
from correlight.search.limits import Limits
from correlight.search.two_neighbours import match_two_neighbours
from correlight.simulate.beads import BeadPair, bead_pair
from correlight.transforms import Transform

RESULTS = Path(__file__).resolve().parent / "results" / "fiducials.md"
NOISE = 0.02 * 2**0.5
# A pose counts as right if it is off by less than five pixels of the light image on average.
RIGHT = 0.2
HEAD = """# Fiducials

Simulated pairs; `python -m benchmarks.fiducials`. "believed" is how often the answer was given as found, "right" how
often the mean error at places without beads, over the common field, is below 200 nm (five pixels), "both" believed
and right; the error is the mean over the right ones. Seconds are processor seconds on one core.

| setting | method | pairs | believed | right | both | error, nm | seconds, median | seconds, most | correlight |
|---|---|---:|---:|---:|---:|---:|---:|---:|---|
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A kind of pair."""

    name: str
    pairs: int
    beads: int = 60
    common: float = 0.4
    shape: tuple[int, ...] = (511, 511)
    field: float = 1.0
    scale: tuple[float, float] = (1 / 3, 3.0)
    claimed: bool = False

    def pair(self, seed: int) -> BeadPair:
        """One pair of this kind."""
        scale = (0.97, 1.03) if self.claimed else self.scale
        return bead_pair(
            seed, beads=self.beads, common=self.common, shape=self.shape, field=self.field, scale=scale, noise=0.02
        )

    @property
    def limits(self) -> Limits | None:
        """What a search would know."""
        return Limits((1 / 1.15, 1.15)) if self.claimed else None


SETTINGS = {
    "40": Setting("40 % common", 100),
    "20": Setting("20 % common", 100, common=0.2),
    "300-20": Setting("300 + 300 beads, 20 % common", 10, beads=300, common=0.2),
    "unrelated": Setting("unrelated", 100, common=0.0),
    "300-40": Setting("300 + 300 beads, 40 % common", 10, beads=300),
    "30": Setting("30 % common", 100, common=0.3),
    "25": Setting("25 % common", 100, common=0.25),
    "20-claimed": Setting("20 % common, scale known to 15 %", 100, common=0.2, claimed=True),
    "15-claimed": Setting("15 % common, scale known to 15 %", 100, common=0.15, claimed=True),
    "15": Setting("15 % common", 100, common=0.15),
    "60": Setting("60 % common", 100, common=0.6),
    "100": Setting("all common", 100, common=1.0),
    "small": Setting("fixed field a third as wide, 20 + 20 beads, 60 % common", 50, beads=20, common=0.6, field=0.33),
    "volume": Setting("volume 100 x 300 x 300, 40 % common", 20, shape=(100, 300, 300)),
    "volume-unrelated": Setting("volume, unrelated", 10, common=0.0, shape=(100, 300, 300)),
    "unrelated-claimed": Setting("unrelated, scale known to 15 %", 100, common=0.0, claimed=True),
    "300-unrelated": Setting("300 + 300 beads, unrelated", 5, beads=300, common=0.0),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure and append to the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fiducials", description="Measure bead constellations.")
    parser.add_argument("--settings", default=",".join(SETTINGS), help=f"of {', '.join(SETTINGS)} (default all)")
    parser.add_argument("--pairs", type=int, help="pairs per setting, in place of the number of each")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    for name in asked.settings.split(","):
        setting = SETTINGS[name]
        pairs = [setting.pair(seed) for seed in range(asked.pairs or setting.pairs)]
        lines = [measured(setting, pairs, "triangles", lambda pair: triangles(pair, setting.limits))]  # noqa: B023
        if setting.common > 0:
            lines.append(measured(setting, pairs, "two neighbours", two_neighbours))
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a") as table:
            if not table.tell():
                table.write(HEAD)
            table.writelines(lines)
        print("".join(lines), end="", flush=True)
    return 0


def triangles(pair: BeadPair, limits: Limits | None) -> tuple[bool, Transform | None]:
    """Whether a pose is believed, and the best one."""
    found = match_constellations(pair.fixed, pair.moving, limits=limits, noise=NOISE)
    return bool(found), found.best.moving_from_fixed if found.matches else None


def two_neighbours(pair: BeadPair) -> tuple[bool, Transform | None]:
    """The published algorithm, which believes whatever it finds."""
    found = match_two_neighbours(pair.fixed, pair.moving)
    return found is not None, None if found is None else found.moving_from_fixed


def measured(
    setting: Setting, pairs: list[BeadPair], method: str, find: Callable[[BeadPair], tuple[bool, Transform | None]]
) -> str:
    """One line of the table."""
    believed, errors, seconds = [], [], []
    for seed, pair in enumerate(pairs):
        began = time.process_time()
        trusted, pose = find(pair)
        seconds.append(time.process_time() - began)
        believed.append(trusted)
        errors.append(np.inf if pose is None or setting.common == 0 else error(pair, pose, seed))
    right = np.asarray(errors) < RIGHT
    mean = f"{1000 * np.mean(np.asarray(errors)[right]):.1f}" if right.any() else "–"
    both = int(np.sum(right & np.asarray(believed)))
    share = f"{right.sum()}" if setting.common > 0 else "–"
    return (
        f"| {setting.name} | {method} | {len(pairs)} | {sum(believed)} | {share} "
        f"| {both if setting.common > 0 else '–'} | {mean} "
        f"| {np.median(seconds):.2f} | {max(seconds):.2f} | {version('correlight')} ({_commit()}) |\n"
    )


def error(pair: BeadPair, pose: Transform, seed: int) -> float:
    """Mean error at random places of the common field, in micrometres of the moving image."""
    places = pair.common_places(400, np.random.default_rng(seed))
    return float(np.mean(np.linalg.norm(pose(places) - pair.moving_from_fixed(places), axis=1)))


def _commit() -> str:
    call = subprocess.run(
        ["git", "log", "-1", "--format=%h", "--", "src/correlight/search"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return call.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
