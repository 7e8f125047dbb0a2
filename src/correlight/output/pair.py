"""From two recordings to a pair of images of one field and one pixel size, which every other program can lay together.

The small electron field is found in the wide light image, the ratio of the pixel sizes with it, and every channel of
the light image is cut out and resampled once onto the electron pixels.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.exchange import write_transform
from correlight.geometry import Grid
from correlight.images.image import Image, Mask
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.io.write import write_ome_tiff, write_tiff
from correlight.output.report import draw_overlay, write_picture
from correlight.refine.neural import refine_neural
from correlight.refine.samples import distance
from correlight.registration.options import must_be_images
from correlight.registration.provenance import image_record, versions
from correlight.search.limits import pixel_size
from correlight.search.pose import Pose
from correlight.search.template import TEMPLATE_MEASURES, Range, TemplateMeasure, match_template
from correlight.transforms import Affine

Padding = Literal["grey", "edge", "masked"]
PADDINGS: tuple[Padding, ...] = ("grey", "edge", "masked")
Progress = Callable[[str, float], None]

# Pixel sizes that files claim are off by up to this; without a claim the ratio is one of these.
_CLAIM, _ANY_RATIO = 0.12, (1.5, 16.0)
# How far the two fields may be turned against each other.
_TURN = 8.0
# A position is unambiguous if it scores this much more than the best place elsewhere
# (benchmarks/results/neural-ratios.md).
_LEAST_MARGIN = 1.3
# The refinement starts a pixel or two off; where it ends further away than this share of the width, it ran away.
_RUN_AWAY = 0.06
# Binning leaves at least this many pixels along the shorter side.
_LEAST_SIDE = 512
_SIZES = (96, 192, 384)


@dataclass(frozen=True, eq=False)
class PreparedPair:
    """Two images of one field. Falsy where the position is ambiguous.

    Parameters
    ----------
    fixed : Image
        As it was given.
    moving : Image
        Every channel of the light image on the fixed grid; its mask is what was really sampled.
    moving_from_fixed : Affine
        Fixed to moving positions, in the units of the two images as given.
    ratio_found, ratio_claimed : float
        Fixed pixels per moving pixel; the claim is None where a file states no pixel size.
    channel : str
        The moving channel that was matched.
    margin : float
        Score of the place over that of the best place elsewhere.
    binning : int
        Fixed pixels along the side of one that was matched.
    padding : {"grey", "edge", "masked"}
        What stands where the light image ends.
    seconds : float
    tried_ratios, tried_rotations : (first, last)
        Fixed pixels per moving pixel, and degrees, between which the field was sought.
    searched : str or None
        The verdict on what a search of all poses found, where no place stood out by matching; None without one.
    """

    fixed: Image
    moving: Image
    moving_from_fixed: Affine
    ratio_found: float
    ratio_claimed: float | None
    channel: str
    margin: float
    binning: int
    padding: Padding
    seconds: float
    tried_ratios: tuple[float, float]
    tried_rotations: tuple[float, float]
    searched: str | None = None

    def __bool__(self) -> bool:
        return self.searched == "accepted" or self.margin >= _LEAST_MARGIN

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        found = f"One moving pixel is {self.ratio_found:.4g} fixed pixels wide"
        if self.ratio_claimed is not None:
            off = 100 * (self.ratio_claimed / self.ratio_found - 1)
            found += f"; the files claim {self.ratio_claimed:.4g}, {abs(off):.1f} % {'less' if off < 0 else 'more'}"
        if self.searched == "accepted":
            return f"{found}. No place stood out by matching; the search of all poses found this one and accepted it."
        if self:
            return f"{found}."
        ratios, rotations = self.tried_ratios, self.tried_rotations
        return (
            f"{found}. The position is ambiguous: another one scores nearly as well. Only rotations from "
            f"{rotations[0]:g}° to {rotations[1]:g}° and moving pixels {ratios[0]:.3g} to {ratios[1]:.3g} fixed pixels "
            f"wide were tried by matching; {self._elsewhere}"
        )

    @property
    def _elsewhere(self) -> str:
        """What is known of other poses."""
        if self.searched is None:
            return "if the truth may lie elsewhere, register the two images instead."
        found = "found none to accept" if self.searched == "refused" else f"found one that is {self.searched}"
        return f"the search of all poses {found}."


def binning_of(fixed: Grid, moving: Grid, scale: float) -> int:
    """How many fixed pixels may become one before they are as coarse as the light image shows.

    Finer pixels than those of the light image add nothing about its position. At least 512 pixels along the shorter
    side are left, as coarser images lose what they are recognised by.

    Parameters
    ----------
    fixed, moving : Grid
        The two images.
    scale : float
        Moving units per fixed unit.
    """
    coarse = pixel_size(moving) / scale / pixel_size(fixed)
    return max(1, min(int(coarse + 1e-6), min(fixed.shape) // _LEAST_SIDE))


def prepare_pair(
    fixed: Image,
    moving: Image,
    *,
    ratio: float | None = None,
    fixed_channel: int | str | None = None,
    moving_channel: int | str | None = None,
    match: TemplateMeasure = "edges",
    padding: Padding = "grey",
    rotation: tuple[float, float] = (-_TURN, _TURN),
    seed: int = 0,
    progress: Progress | None = None,
) -> PreparedPair:
    """Find the field of an electron image in a wider light image, and cut it out on the electron pixels.

    Parameters
    ----------
    fixed, moving : Image
        The small field and the wide one, 2-D.
    ratio : float, optional
        Fixed pixels per moving pixel as far as known, to 12 %. Without it the pixel sizes that the files claim are
        used with the same tolerance, and where one of them states nothing, ratios from 1.5 to 16 are tried.
    fixed_channel, moving_channel : int or str, optional
        The channel to match; without it the first of the fixed image, and whichever of the moving image stands out.
    match : {"edges", "zero-mean", "plain"}
        As for `match_template`.
    padding : {"grey", "edge", "masked"}
        What to put where the electron field leaves the light field: the median of each channel, the nearest pixel, or
        zero with the mask as the only word on it.
    rotation : (first, last)
        Degrees between which the fields may be turned against each other.
    seed : int
        Of the refinement.
    progress : callable, optional
        Called with the name of the stage and the fraction of it that is done.

    Returns
    -------
    PreparedPair

    Raises
    ------
    UsageError
        If an option is out of range, an image is not 2-D or shows nothing, or the template fits nowhere.

    Notes
    -----
    Half a minute for three channels on one core (benchmarks/results/neural-ratios.md).
    The transform is found on binned images and holds for
    the full size as it is, because positions are lengths and not pixel numbers.

    Examples
    --------
    >>> from correlight.simulate import pair
    >>> both = pair("cell", 3, rotation=0, mirror=False, light_shape=(320, 320), electron_shape=(320, 320))
    >>> made = prepare_pair(both.fixed, both.moving, moving_channel="reflected", rotation=(0, 0))
    >>> made.moving.grid.shape, made.moving.channels
    ((320, 320), ('chromatin', 'reflected', 'particles'))
    """
    began = time.perf_counter()
    must_be_images({"fixed": fixed, "moving": moving})
    report = progress or (lambda stage, fraction: None)
    _check(fixed, moving, ratio, match, padding, rotation)
    claimed = None
    if fixed.grid.calibrated and moving.grid.calibrated:
        claimed = pixel_size(moving.grid) / pixel_size(fixed.grid)
    units = pixel_size(moving.grid) / pixel_size(fixed.grid)
    about = ratio or claimed
    ratios = _ANY_RATIO if about is None else (about / (1 + _CLAIM), about * (1 + _CLAIM))
    over = Range((units / ratios[1], units / ratios[0]), rotation)
    small = _plane("fixed", fixed, _first(fixed) if fixed_channel is None else fixed.channel_index(fixed_channel))
    tried = moving.usable_channels if moving_channel is None else (moving.channel_index(moving_channel),)
    wide = {number: _plane("moving", moving, number) for number in tried}
    wide = {number: plane for number, plane in wide.items() if np.ptp(plane.values) > 0}
    if not wide or np.ptp(small.values) == 0:
        role = "moving" if wide == {} else "fixed"
        raise UsageError(f"The {role} image has the same value everywhere; an image with structure was expected.")

    found: dict[int | None, list[Pose]] = {}
    for done, (number, plane) in enumerate(wide.items()):
        found[number] = match_template(
            small,
            plane,
            over,
            match,
            progress=lambda part, done=done: report("match", (done + part) / len(wide)),  # type: ignore[misc]
        )
    found = {number: poses for number, poses in found.items() if poses}
    if not found:
        raise UsageError(
            "The field of the fixed image is larger than the moving image at every ratio that was tried; exchange the "
            "images, or give the ratio of their pixel sizes."
        )
    channel = max(found, key=lambda number: _margin(found[number]))
    place = found[channel][0].moving_from_fixed
    factor = binning_of(fixed.grid, moving.grid, place.scale)
    report("refine", 0.0)
    binned = small.shrunk(factor * pixel_size(fixed.grid))
    better = refine_neural(binned, wide[channel], place, "similarity", sizes=_SIZES, seed=seed)
    stays = distance(place, better, fixed.grid) < _RUN_AWAY * max(fixed.grid.extent)
    transform = Affine((better if stays else place).matrix)
    report("refine", 1.0)
    values, footprint = cut_out(moving, transform, fixed.grid, padding)
    cut = replace(moving, levels=(values,), grid=fixed.grid, mask=footprint, findings=())
    return PreparedPair(
        fixed,
        cut,
        transform,
        units / transform.scale,
        claimed,
        moving.channel_name(channel),
        _margin(found[channel]),
        factor,
        padding,
        time.perf_counter() - began,
        ratios,
        rotation,
    )


def write_pair(folder: str | Path, made: PreparedPair, moving: Image, seed: int) -> None:
    """Write a pair into a folder that exists (see `correlight.output.target.reserve`).

    Parameters
    ----------
    folder : path
        Gets ``pair.json``, ``moving_from_fixed.tfm``, ``overlay.png``, and, of an unambiguous position,
        ``moving.ome.tif`` and ``footprint.tif``.
    made : PreparedPair
        From `prepare_pair`.
    moving : Image
        The light image as it was read.
    seed : int
        That was used.
    """
    folder = Path(folder)
    record: dict[str, Any] = {
        "found": bool(made),
        "found_by": "search" if made.searched == "accepted" else "matching",
        "sentence": made.sentence,
        "ratio_found": made.ratio_found,
        "ratio_claimed": made.ratio_claimed,
        "margin": made.margin,
        "binning": made.binning,
        "padding": made.padding,
        "covered": float(np.mean(made.moving.valid())),
        "moving_from_fixed": {"type": "affine", "axes": ["y", "x"], "matrix": made.moving_from_fixed.matrix.tolist()},
        "fixed": image_record(made.fixed, _first(made.fixed)).to_json(),
        "moving": image_record(moving, moving.channel_index(made.channel) if not moving.rgb else None).to_json(),
        "seed": seed,
        "seconds": made.seconds,
        "versions": versions(),
    }
    (folder / "pair.json").write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    write_transform(folder / "moving_from_fixed.tfm", made.moving_from_fixed)
    footprint = made.moving.valid()
    channel = None if moving.rgb else moving.channel_index(made.channel)
    mark = None if made else "doubtful: check before use"
    drawn = draw_overlay(made.fixed, np.asarray(made.moving.levels[0]), footprint, channel, mark=mark)
    write_picture(folder / "overlay.png", drawn)
    if made:
        write_ome_tiff(
            folder / "moving.ome.tif", made.moving.levels[0], made.fixed.grid, moving.channels, rgb=moving.rgb
        )
        write_tiff(folder / "footprint.tif", footprint.astype(np.uint8), made.fixed.grid)


def _check(
    fixed: Image, moving: Image, ratio: float | None, match: str, padding: str, rotation: tuple[float, float]
) -> None:
    for role, image in (("fixed", fixed), ("moving", moving)):
        if image.ndim != 2:
            raise UsageError(f"A pair is made of two-dimensional images; the {role} one has {image.ndim} axes.")
    if match not in TEMPLATE_MEASURES:
        raise UsageError(f"Templates are matched by {', '.join(TEMPLATE_MEASURES)}; got {match!r}.")
    if padding not in PADDINGS:
        raise UsageError(f"Padding is one of {', '.join(PADDINGS)}; got {padding!r}.")
    if ratio is not None and not (np.isfinite(ratio) and ratio > 0):
        raise UsageError(f"The ratio of the pixel sizes must be a positive number; got {ratio}.")
    if not (np.all(np.isfinite(rotation)) and 0 <= rotation[1] - rotation[0] <= 360):
        raise UsageError(f"A rotation is two numbers of degrees in ascending order, at most 360 apart; got {rotation}.")


def _first(image: Image) -> int | None:
    return None if image.rgb else 0


def _plane(role: str, image: Image, channel: int | None) -> Plane:
    plane = Plane.of(image, channel)
    if not plane.mask.any():
        raise UsageError(f"The {role} image has no valid pixels; check its mask.")
    return plane


def _margin(poses: list[Pose]) -> float:
    # Without a rival within the range, wrong places of like images stand for one.
    rival = poses[1].score if len(poses) > 1 else 0.4 * poses[0].score
    return float(poses[0].score / max(rival, 1e-9))


def cut_out(moving: Image, moving_from_fixed: Affine, onto: Grid, padding: Padding) -> tuple[NDArray[Any], Mask]:
    """Every channel on the fixed grid, padded where the light image ends, and what was really sampled."""
    if padding == "edge":
        index = moving.grid.index(moving_from_fixed(onto.corners()))
        over = np.ceil(np.maximum(-index.min(axis=0), index.max(axis=0) - np.asarray(moving.grid.shape) + 1))
        margin = [max(0, int(pixels) + 2) for pixels in over]
        pixels = np.pad(np.asarray(moving.levels[0][:]), ((0, 0), *((n, n) for n in margin)), mode="edge")
        first = moving.grid.points(-np.array(margin, float)[None])[0]
        grid = Grid.of(pixels.shape[1:], moving.grid.spacing, tuple(first), moving.grid.unit)
        values, _ = warp(pixels, grid, moving_from_fixed, onto)
        _, footprint = warp(
            np.zeros((1, *moving.grid.shape), np.uint8), moving.grid, moving_from_fixed, onto, mask=moving.mask
        )
        return values, footprint
    values, footprint = warp(moving, moving.grid, moving_from_fixed, onto)
    if padding == "grey" and footprint.any():
        for channel in values:
            channel[~footprint] = np.median(channel[footprint]).astype(channel.dtype)
    elif padding == "masked":
        values[:, ~footprint] = 0
    return values, footprint
