"""Write a simulated pair as the files that two microscopes would leave behind, with the truth beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from correlight.errors import UsageError, WriteError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io.write import write_ome_tiff
from correlight.simulate.pair import SimulatedPair
from correlight.transforms import Affine

_CONVENTION = (
    "Homogeneous matrices acting on columns (y, x, 1), from the fixed to the moving image; 'micrometre' uses the true "
    "pixel sizes with the origin at the centre of the first pixel, 'pixel' uses pixel indices with whole numbers at "
    "pixel centres and holds whatever sizes the files claim."
)


@dataclass(frozen=True, slots=True)
class WrittenPair:
    """Where `write_pair` put its files.

    Parameters
    ----------
    fixed, moving, truth : Path
        The two images and the truth.
    """

    fixed: Path
    moving: Path
    truth: Path


def write_pair(
    folder: str | Path, pair: SimulatedPair, *, claimed_spacing: tuple[float | None, float | None] | None = None
) -> WrittenPair:
    """Write ``fixed.ome.tif``, ``moving.ome.tif`` and ``truth.json``.

    Parameters
    ----------
    folder : path
        Made where it is missing; files of these names in it are replaced.
    pair : SimulatedPair
        What to write.
    claimed_spacing : (float or None, float or None), optional
        Micrometres per pixel that the fixed and the moving file state, right or wrong; None states no pixel size.
        Without it both state the truth.

    Returns
    -------
    WrittenPair

    Raises
    ------
    UsageError
        If a claimed spacing is not positive and finite.
    WriteError
        If a file cannot be written.

    Notes
    -----
    ``truth.json`` holds ``seed`` and ``kind`` of the specimen, ``moving_from_fixed`` as a ``(3, 3)`` matrix under
    "micrometre" and under "pixel" with the ``convention`` in words, true and claimed spacing, the overlap, and the
    ``particles`` that both images contain, each as (y, x) in micrometres.
    """
    images = {"fixed": pair.fixed, "moving": pair.moving}
    if claimed_spacing is None:
        claimed: tuple[float | None, ...] = tuple(image.grid.spacing[0] for image in images.values())
    elif len(claimed_spacing) != len(images):
        raise UsageError(f"Claim one spacing for the fixed and one for the moving image; got {claimed_spacing}.")
    else:
        claimed = claimed_spacing
    grids = [_claiming(image, spacing) for image, spacing in zip(images.values(), claimed, strict=True)]
    target = Path(folder)
    written = WrittenPair(target / "fixed.ome.tif", target / "moving.ome.tif", target / "truth.json")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path, image, grid in zip((written.fixed, written.moving), images.values(), grids, strict=True):
            write_ome_tiff(path, image.levels[0], grid, image.channels)
        written.truth.write_text(json.dumps(_truth(pair, claimed), indent=1), encoding="utf-8")
    except OSError as error:
        raise WriteError(
            f"A simulated pair should go to {target}, but that cannot be written ({error.strerror or error}); "
            "name another folder."
        ) from error
    return written


def _claiming(image: Image, spacing: float | None) -> Grid:
    """The grid of an image as the file states it."""
    if spacing is None:
        return Grid.of(image.grid.shape)
    return Grid.of(image.grid.shape, spacing, unit="micrometre")


def _truth(pair: SimulatedPair, claimed: tuple[float | None, ...]) -> dict[str, Any]:
    """The content of ``truth.json``."""
    index_from_moving = Affine(pair.moving.grid.matrix).inverse()
    pixels = index_from_moving.matrix @ pair.moving_from_fixed.matrix @ pair.fixed.grid.matrix
    fixed, moving = pair.particles()
    return {
        "kind": pair.specimen.kind,
        "seed": pair.specimen.seed,
        "convention": _CONVENTION,
        "moving_from_fixed": {"micrometre": pair.moving_from_fixed.matrix.tolist(), "pixel": pixels.tolist()},
        "true_spacing": {"fixed": pair.fixed.grid.spacing[0], "moving": pair.moving.grid.spacing[0]},
        "claimed_spacing": dict(zip(("fixed", "moving"), claimed, strict=True)),
        "overlap": pair.overlap,
        "particles": {"fixed": fixed.tolist(), "moving": moving.tolist()},
    }
