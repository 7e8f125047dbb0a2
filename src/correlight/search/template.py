"""Template matching: the small field is laid on every place of the wide one, at every likely size.

A light image often shows ten times the width of the electron image. The search for poses, which works on both whole
fields, would see the small one as a few pixels; here it is a template of fixed size and the wide field is as large as
it must be. What is compared are edges, which instruments share, or grey values as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.appearance.channels import edges
from correlight.geometry import Grid
from correlight.images.image import Float32, Mask
from correlight.images.plane import Plane
from correlight.progress import Fraction, checkpoint
from correlight.search.pose import Pose
from correlight.search.ranking import distinct
from correlight.transforms import Affine

TemplateMeasure = Literal["edges", "zero-mean", "plain"]
TEMPLATE_MEASURES: tuple[TemplateMeasure, ...] = ("edges", "zero-mean", "plain")

# Side in pixels of a square with the area of the template, on the first pass and on the second. Where no place stands
# out by this factor after both, small structure may have been lost, and a finer first pass follows.
_COARSE, _FINE, _STANDS_OUT = (56, 96), 112, 1.5
# Neighbouring sizes and rotations differ by this on either pass.
_COARSE_RATIO, _COARSE_TURN, _FINE_RATIO, _FINE_TURN = 0.025, 4.0, 0.008, 1.2
# Positions kept for the second pass, and positions of one size and rotation.
_KEPT, _PEAKS = 6, 3
# The wide field is continued by this share of the template, so that the template may extend beyond its border.
_OVER_THE_RIM = 0.35
# The least share of the template that lies in the field.
_LEAST_OVERLAP = 0.4
# A window with a smaller share of the mean energy of the field shows nothing that could be matched.
_LEAST_ENERGY = 0.15
# Sizes within this factor share a copy of the wide field.
_BAND = 1.3
# No field is searched with more pixels along its side than this.
_LONGEST = 1600


@dataclass(frozen=True, slots=True)
class Range:
    """Which sizes and rotations are tried.

    Parameters
    ----------
    scale : (least, greatest)
        Moving units per fixed unit.
    rotation : (first, last)
        Degrees, as `Affine.similarity` counts them.
    """

    scale: tuple[float, float]
    rotation: tuple[float, float] = (0.0, 0.0)


def match_template(
    fixed: Plane,
    moving: Plane,
    over: Range,
    kind: TemplateMeasure = "edges",
    *,
    progress: Fraction | None = None,
) -> list[Pose]:
    """Poses that lay the fixed image, as a template, into a wider moving image.

    Parameters
    ----------
    fixed, moving : Plane
        The template and the field that is searched.
    over : Range
        Sizes and rotations.
    kind : {"edges", "zero-mean", "plain"}
        What is correlated: whitened edges; grey values less their means (the normalised correlation coefficient); or
        grey values as they are (normalised cross-correlation), which wants images of one contrast.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    list of Pose
        Distinct ones, best first, with the normalised correlation as their score; empty where the template is larger
        than the field.

    Notes
    -----
    The normalised correlations are those of Lewis (1995, Vision Interface, 120-123). A size and rotation costs Fourier
    transforms of the wide field: of each of three channels and of the energy for edges.
    """
    report = progress or (lambda fraction: None)
    scales = _steps(np.log(over.scale[0]), np.log(over.scale[1]), np.log1p(_COARSE_RATIO))
    turns = _steps(*over.rotation, _COARSE_TURN)
    tries = [(float(np.exp(scale)), turn) for scale in scales for turn in turns]
    made: list[Pose] = []
    for number, size in enumerate(_COARSE):
        first, span = number / len(_COARSE), 1 / len(_COARSE)
        found = _look(
            fixed,
            moving,
            tries,
            kind,
            size,
            lambda done, a=first, b=span: report(a + 0.7 * b * done),  # type: ignore[misc]
        )
        closer: dict[tuple[float, float], None] = {}
        for pose in distinct(found, fixed.grid)[:_KEPT]:
            linear = pose.linear
            for ratio in np.arange(-2, 3) * _FINE_RATIO:
                for turn in (np.arange(-2, 3) * _FINE_TURN) if len(turns) > 1 else (0.0,):
                    scale = min(max(linear.scale * (1 + ratio), over.scale[0]), over.scale[1])
                    closer[round(scale, 6), round(linear.rotation + float(turn), 6)] = None
        found = _look(
            fixed,
            moving,
            list(closer),
            kind,
            _FINE,
            lambda done, a=first, b=span: report(a + b * (0.7 + 0.3 * done)),  # type: ignore[misc]
        )
        made = distinct([*made, *found], fixed.grid)
        if len(made) > 1 and made[0].score >= _STANDS_OUT * made[1].score:
            break
    report(1.0)
    return made


def _steps(first: float, last: float, step: float) -> NDArray[np.float64]:
    return np.linspace(first, last, int(np.ceil((last - first) / step - 1e-9)) + 1)


def _look(
    fixed: Plane,
    moving: Plane,
    tries: Sequence[tuple[float, float]],
    kind: TemplateMeasure,
    size: int,
    report: Fraction,
) -> list[Pose]:
    """The best places for each size and rotation; sizes that differ little share a copy of the wide field."""
    bands: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for scale, turn in tries:
        bands[round(np.log(scale) / np.log(_BAND))].append((scale, turn))
    found: list[Pose] = []
    done = 0
    for band in bands.values():
        middle = float(np.exp(np.mean([np.log(scale) for scale, _ in band])))
        spacing = float(np.sqrt(fixed.area)) * middle / size
        field = moving.shrunk(max(spacing, *moving.grid.spacing, max(moving.grid.extent) / _LONGEST))
        margin = int(_OVER_THE_RIM * size)
        searched = _field(field, margin, kind)
        for scale, turn in band:
            checkpoint()
            found += _one(fixed, field.grid, searched, margin, scale, turn, kind)
            done += 1
            report(done / len(tries))
    return found


def _field(field: Plane, margin: int, kind: TemplateMeasure) -> Float32:
    """What is searched, ``(y, x, C)``, continued beyond the border."""
    if kind == "edges":
        channels = _channels(field.values, field.mask)
        return np.pad(channels, ((margin, margin), (margin, margin), (0, 0)))
    return np.pad(field.values, margin, mode="edge")[..., None]


def _channels(values: Float32, mask: Mask) -> Float32:
    groups = edges(values, mask)
    return np.ascontiguousarray(np.concatenate([group.planes for group in groups]).transpose(1, 2, 0))


def _one(
    fixed: Plane, field: Grid, searched: Float32, margin: int, scale: float, turn: float, kind: TemplateMeasure
) -> list[Pose]:
    """The best places for one size and rotation."""
    spacing = float(np.mean(field.spacing))
    small = fixed.shrunk(spacing / scale)
    values, mask, template_from_fixed = _turned(small, scale, turn, spacing)
    if any(a > b for a, b in zip(values.shape, searched.shape[:2], strict=True)) or np.count_nonzero(mask) < 100:
        return []
    template = _channels(values, mask) if kind == "edges" else values[..., None]
    scores = _correlated(searched, template, mask, kind)
    area = float(np.count_nonzero(mask))
    poses = []
    half_width = max(2, min(values.shape) // 4)
    for _ in range(_PEAKS):
        _, score, _, (left, top) = cv2.minMaxLoc(scores)
        if score <= 0:
            break
        # Pixel (0, 0) of the template lies on pixel (top, left) of the padded field.
        field_from_template = np.eye(3)
        field_from_template[:2, 2] = np.array([top, left]) - margin
        matrix = field.matrix @ field_from_template @ template_from_fixed
        overlap = _inside(mask, top - margin, left - margin, field.shape) / area
        if overlap >= _LEAST_OVERLAP:
            poses.append(Pose(Affine(matrix), float(score), overlap))
        scores[max(0, top - half_width) : top + half_width + 1, max(0, left - half_width) : left + half_width + 1] = -1
    return poses


def _correlated(searched: Float32, template: Float32, mask: Mask, kind: TemplateMeasure) -> Float32:
    """Normalised correlation at every place where the template fits, shape of what OpenCV calls a result."""
    weight = mask.astype(np.float32)
    if kind == "zero-mean":
        # OpenCV subtracts means only within the mask, which is what a turned template needs.
        scores = cv2.matchTemplate(searched[..., 0], template[..., 0], cv2.TM_CCOEFF_NORMED, mask=weight)
        return np.nan_to_num(np.asarray(scores), nan=0.0, posinf=0.0, neginf=0.0)
    products = cv2.matchTemplate(searched, template * weight[..., None], cv2.TM_CCORR)
    power = cv2.matchTemplate(np.sum(searched * searched, axis=2), weight, cv2.TM_CCORR)
    least = _LEAST_ENERGY * float(np.mean(np.sum(searched * searched, axis=2))) * float(weight.sum())
    own = float(np.sqrt(np.sum(np.square(template * weight[..., None]))))
    return np.asarray(products / np.sqrt(np.maximum(power, max(least, 1e-9))) / max(own, 1e-9))


def _turned(plane: Plane, scale: float, turn: float, spacing: float) -> tuple[Float32, Mask, NDArray[np.float64]]:
    """The template rotated and with pixels of the field, its valid pixels, and its pixels from fixed positions."""
    linear = Affine.similarity(turn, scale).linear / spacing
    corners = plane.grid.corners() @ linear.T
    low = np.floor(corners.min(axis=0))
    rows, columns = (np.ceil(corners.max(axis=0)) - low).astype(int) + 1
    template_from_fixed = np.eye(3)
    template_from_fixed[:2, :2], template_from_fixed[:2, 2] = linear, -low
    matrix = (template_from_fixed @ plane.grid.matrix)[:2][::-1, [1, 0, 2]]
    size = (int(columns), int(rows))
    values = cv2.warpAffine(plane.values, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(plane.mask.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray(values, np.float32), np.asarray(share >= 0.999), template_from_fixed


def _inside(mask: Mask, top: int, left: int, shape: tuple[int, ...]) -> float:
    """Valid pixels of the template that lie in the field."""
    rows = slice(max(0, -top), max(0, shape[0] - top))
    columns = slice(max(0, -left), max(0, shape[1] - left))
    return float(np.count_nonzero(mask[rows, columns]))
