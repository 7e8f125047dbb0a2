"""How well beads of two images are matched, how exact they are, and how often unrelated beads are believed.

``python -m benchmarks.fiducials`` simulates pairs as a light microscope and a scanning electron microscope would see
them (511 x 511 pixels of 40 nm, 60 beads in either image, 20 nm localisation noise per axis and image, any rotation,
mirror and position, scale unknown within a factor of three either way, shear and unequal scales within 2 %) and writes
one table line per setting to ``benchmarks/results/fiducials.md``. The published algorithm
(`benchmarks.two_neighbours`) sees the same pairs in the same run: it is the peer for success and time. Seconds
are of the processor, so that a busy machine does not change them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from benchmarks.software import commit
from benchmarks.two_neighbours import match_two_neighbours
from correlight.beads.matching import BeadSearch
from correlight.beads.point_matching import match_beads
from correlight.beads.spots import find_spots
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.search.limits import Limits
from correlight.simulate.bead_images import electron_image, fluorescence_image
from correlight.simulate.beads import BeadPair, bead_pair
from correlight.transforms import Transform

_SOURCE = "src/correlight/search", "src/correlight/appearance"
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
    bent: float | None = None
    images: bool = False

    def pair(self, seed: int) -> BeadPair:
        """One pair of this kind."""
        scale = (0.97, 1.03) if self.claimed else self.scale
        return bead_pair(
            seed,
            beads=self.beads,
            common=self.common,
            shape=self.shape,
            field=self.field,
            scale=scale,
            shear=self.bent,
            unequal=self.bent,
            noise=0.0 if self.images else 0.02,
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
    "bent": Setting("40 % common, shear and unequal scales of 5 %", 100, bent=0.05),
    "images": Setting("from images, 40 % common, scale known to 15 %", 20, claimed=True, images=True),
    "300-unrelated": Setting("300 + 300 beads, unrelated", 5, beads=300, common=0.0),
}


SPOTS = {
    "light": "fluorescence, 2000 photons, 40 nm pixels, 6 dirt, 40 hot pixels",
    "faint": "the same, 500 photons (peak 2.7 times the noise)",
    "bright": "SEM, discs of 100 nm, 20 nm pixels, 6 dirt",
    "dark": "TEM, the same, dark",
    "stack": "fluorescence stack, 200 nm planes, 80 nm pixels, 4000 photons",
}
SPOTS_HEAD = """# Spots

Beads in simulated images, three of each kind, size and sign unknown to the search;
`python -m benchmarks.fiducials --spots`. Errors per axis (z / y / x) are root mean squares over the beads found;
"error over predicted" is the root mean square of the error of each place in units of the error that it came with.

| image | beads | found | no beads among the spots | error, nm | error over predicted | seconds, median | correlight |
|---|---:|---:|---:|---:|---:|---:|---|
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure and append to the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fiducials", description="Measure how beads are matched."
    )
    parser.add_argument("--settings", default=",".join(SETTINGS), help=f"of {', '.join(SETTINGS)} (default all)")
    parser.add_argument("--pairs", type=int, help="pairs per setting, in place of the number of each")
    parser.add_argument("--spots", action="store_true", help="measure how beads are found in images instead")
    parser.add_argument("--out", type=Path, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    commit(*_SOURCE)
    if asked.spots:
        appended(asked.out or RESULTS.with_name("spots.md"), SPOTS_HEAD, [spots(kind) for kind in SPOTS])
        return 0
    for name in asked.settings.split(","):
        setting = SETTINGS[name]
        pairs = [setting.pair(seed) for seed in range(asked.pairs or setting.pairs)]
        find = from_images if setting.images else triangles
        lines = [measured(setting, pairs, "triangles", lambda pair: find(pair, setting.limits))]  # noqa: B023
        if setting.common > 0 and not setting.images:
            lines.append(measured(setting, pairs, "two neighbours", two_neighbours))
        appended(asked.out or RESULTS, HEAD, lines)
    return 0


def appended(path: Path, head: str, lines: list[str]) -> None:
    """Add lines to a table, and show them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as table:
        if not table.tell():
            table.write(head)
        table.writelines(lines)
    print("".join(lines), end="", flush=True)


def spots(kind: str) -> str:
    """One line on how well beads are found in images of a kind, over three fields of 60 beads."""
    hits, beads, listed, apart, said, seconds = 0, 0, 0, [], [], []
    for seed in range(3):
        truth = bead_pair(seed, common=1.0, noise=0.0, scale=1.0, least_distance=0.4).moving
        rng = np.random.default_rng(seed)
        if kind == "stack":
            grid = Grid.of((24, 256, 256), (0.2, 0.08, 0.08), unit="micrometre")
            truth = np.column_stack([rng.uniform(1, 3.6, len(truth)), truth])
            image: NDArray[np.integer] = fluorescence_image(truth, grid, rng, psf=(0.35, 0.13, 0.13), photons=4000)
        elif kind in ("bright", "dark"):
            grid = Grid.of((1022, 1022), 0.02, unit="micrometre")
            image = electron_image(truth, grid, rng, dirt=6, dark=kind == "dark")
        else:
            grid = Grid.of((511, 511), 0.04, unit="micrometre")
            image = fluorescence_image(
                truth, grid, rng, photons=500 if kind == "faint" else 2000, dirt=6, hot_pixels=40
            )
        began = time.process_time()
        found = find_spots(image, grid)
        seconds.append(time.process_time() - began)
        distance, index = KDTree(found.points).query(truth)
        near = np.asarray(distance) < 0.1
        hits, beads, listed = hits + int(near.sum()), beads + len(truth), listed + len(found)
        apart.append((found.points[index] - truth)[near])
        said.append(found.errors[index][near])
    off, errors = np.concatenate(apart), np.concatenate(said)
    ratio = np.sqrt(np.mean((off / errors) ** 2))
    made_by = f"{version('correlight')} ({commit(*_SOURCE)})"
    axes = " / ".join(f"{1000 * value:.1f}" for value in np.sqrt(np.mean(off**2, axis=0)))
    return (
        f"| {SPOTS[kind]} | {beads} | {100 * hits / beads:.0f} % | {100 * (1 - hits / listed):.0f} % | {axes} "
        f"| {ratio:.2f} | {np.median(seconds):.1f} | {made_by} |\n"
    )


def triangles(pair: BeadPair, limits: Limits | None) -> tuple[bool, Transform | None]:
    """Whether a pose is believed, and the best one."""
    found = match_beads(pair.fixed, pair.moving, limits=limits, noise=NOISE)
    return bool(found), found.best.moving_from_fixed if found.matches else None


def from_images(pair: BeadPair, limits: Limits | None) -> tuple[bool, Transform | None]:
    """From pixels: bright discs of 100 nm at 20 nm per pixel, and spots at 40 nm, with dirt and hot pixels in both."""
    rng = np.random.default_rng(len(pair.fixed) + round(1e6 * float(pair.fixed[0, 0])))
    grid = pair.fixed_grid.resized((1022, 1022))
    fixed = Image.from_array(electron_image(pair.fixed, grid, rng, dirt=6), spacing=grid.spacing)
    light = fluorescence_image(pair.moving, pair.moving_grid, rng, dirt=6, hot_pixels=40)
    moving = Image.from_array(light, spacing=pair.moving_grid.spacing)
    found = BeadSearch(replace(fixed, grid=grid), moving, limits or Limits((0.0, np.inf)))(0, 0)
    best = found.matching.matches
    return bool(found.matching), best[0].moving_from_fixed if best else None


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
        f"| {np.median(seconds):.2f} | {max(seconds):.2f} | {version('correlight')} ({commit(*_SOURCE)}) |\n"
    )


def error(pair: BeadPair, pose: Transform, seed: int) -> float:
    """Mean error at random places of the common field, in micrometres of the moving image."""
    places = pair.common_places(400, np.random.default_rng(seed))
    return float(np.mean(np.linalg.norm(pose(places) - pair.moving_from_fixed(places), axis=1)))


if __name__ == "__main__":
    raise SystemExit(main())
