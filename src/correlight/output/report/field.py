"""What the report shows of a map that bends: the deformed grid, how far it moves places, and on what it rests."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid, Points
from correlight.images import display
from correlight.output.report import content, pictures
from correlight.registration.result import Result
from correlight.transforms import Affine, Projective
from correlight.transforms.bending import bends, beyond

Lines = list[list[list[float]]]

# Spaces between lines of the grid along the longer side, and places on a line per space.
_SPACES, _PER_SPACE = 20, 6
# Displacements are drawn so large that the largest spans up to so many spaces, but lines stay in their order: one moves
# relative to its neighbour by less than this share of their distance.
_SPANS, _IN_ORDER = 2.0, 0.7
# The longest side of the maps, in pixels, at most and at least, and of the places where displacements are computed.
_LONGEST, _SHORTEST, _ASKED = 480, 360, 96
# An inverse that leads back to within this share of a pixel is said to be exact to that.
_EXACT = 1e-4
# Evidence from which on a field counts as supported.
EVIDENCE = 0.5
GRID_COLOUR = 255, 200, 0


def has_field(result: Result) -> bool:
    """Whether the transform of a result is more than a linear map."""
    return result.bending is not None and bends(result.moving_from_fixed)


def linear_of(result: Result) -> Affine | Projective:
    """The linear map beside the field."""
    return result.poses[0].moving_from_fixed


def displacements(result: Result, plane: Grid, axes: tuple[int, int]) -> NDArray[np.float64]:
    """Displacement beyond the linear map at every pixel of a plane, ``(rows, columns, D)``; NaN outside both images.

    Parameters
    ----------
    result : Result
        With a field.
    plane : Grid
        In the fixed frame; of three axes one has a single pixel.
    axes : (int, int)
        The axes that the rows and columns of the plane follow.
    """
    places = plane.lattice_of_pixels()
    moved = beyond(result.moving_from_fixed, linear_of(result), places)
    moved[~_known(result, places)] = np.nan
    return moved.reshape(plane.shape[axes[0]], plane.shape[axes[1]], -1)


def _known(result: Result, places: Points) -> NDArray[np.bool_]:
    """Whether the moving image shows each place of the fixed one."""
    record = result.moving
    moving = Grid.of(record.shape, record.spacing, unit=record.unit)
    there = result.moving_from_fixed(places)
    return np.asarray(moving.contains(there)) if moving.ndim == there.shape[1] else np.ones(len(places), bool)


def evidence(result: Result, plane: Grid, axes: tuple[int, int]) -> NDArray[np.float64] | None:
    """Where the field is supported, from 0 to 1, at every pixel of a plane; None where no method said so."""
    values = result.maps.get("field_evidence")
    if values is None:
        return None
    grid, places = result.predicted_error.grid, plane.lattice_of_pixels()
    index = np.clip(np.rint(grid.index(places)), 0, np.asarray(grid.shape) - 1).astype(int)
    if grid.ndim == 2:
        return np.asarray(pictures.sample(values, grid, plane), np.float64)
    return np.asarray(values[tuple(index.T)].reshape(plane.shape[axes[0]], plane.shape[axes[1]]), np.float64)


def exaggeration(moved: NDArray[np.float64], space: float, steps: tuple[float, float]) -> float:
    """How many times as large displacements are drawn so that they can be seen: 1, 2, 5, 10 and so on.

    Parameters
    ----------
    moved : (rows, columns, 2) array
        Displacements; NaN where unknown.
    space : float
        Distance of the lines of the grid.
    steps : (float, float)
        Distance of neighbouring rows and columns of ``moved``.
    """
    largest = float(np.nanmax(np.linalg.norm(moved, axis=-1), initial=0.0))
    slopes = [np.abs(np.diff(moved, axis=axis)) / step for axis, step in enumerate(steps)]
    steepest = max(float(np.nanmax(slope, initial=0.0)) for slope in slopes)
    most = min(_SPANS * space / largest if largest > 0 else 1.0, _IN_ORDER / steepest if steepest > 0 else 1.0)
    return max(1.0, pictures.nice_length(most))


def grid_lines(result: Result, plane: Grid, axes: tuple[int, int], shape: tuple[int, int]) -> dict[str, Any]:
    """Regular lines of the fixed image as they lie in the moving one, beyond the linear map.

    Parameters
    ----------
    result, plane, axes
        As for `displacements`; the field that the plane covers.
    shape : (int, int)
        Rows and columns of the picture that the lines are drawn on.

    Returns
    -------
    dict
        "supported" and "smooth": lists of lines of ``[x, y]`` corners in pixels of the picture, where the field rests
        on evidence and where on smoothness; "times": how many times as large as they are displacements are drawn;
        "size": the same in words.
    """
    rows, columns = axes
    sides = np.array([plane.extent[rows], plane.extent[columns]])
    space = float(sides.max()) / _SPACES
    counts = np.maximum(1, np.rint(sides / space)).astype(int)
    nodes = list(plane.shape)
    nodes[rows], nodes[columns] = (int(n) * _PER_SPACE + 1 for n in counts)
    fine = plane.resized(nodes)
    moved = displacements(result, fine, axes)[..., [rows, columns]]
    share = evidence(result, fine, axes)
    supported = np.ones(moved.shape[:2], bool) if share is None else np.nan_to_num(share) >= EVIDENCE
    times = exaggeration(moved, space, (fine.spacing[rows], fine.spacing[columns]))
    # From positions to pixels of the picture, whose outer edges are those of the plane.
    index = np.stack(np.meshgrid(*[np.arange(n) + 0.5 for n in moved.shape[:2]], indexing="ij"), -1)
    at = index / moved.shape[:2] * np.asarray(shape) + times * moved / sides * np.asarray(shape)
    made: dict[str, Any] = {"supported": [], "smooth": [], "times": content.figure(times)}
    made["size"] = "as large as they are" if times == 1 else f"{made['times']} times as large as they are"
    for along in (0, 1):
        lines, kinds = (np.moveaxis(values, along, 0)[::_PER_SPACE] for values in (at, supported))
        for line, kind in zip(lines, kinds, strict=True):
            for name, chosen in (("supported", kind), ("smooth", ~kind)):
                made[name].extend(_runs(line, chosen))
    return made


def _runs(line: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Lines:
    """The parts of a line that are chosen and known, each up to the next place, as ``[x, y]`` corners."""
    known = np.asarray(np.isfinite(line).all(axis=1))
    steps = chosen[:-1] & known[:-1] & known[1:]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], steps, [False]]).astype(int)))
    return [
        np.round(line[first : last + 1, ::-1], 1).tolist() for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]


def drawn_grid(picture: NDArray[np.uint8], lines: dict[str, Any]) -> NDArray[np.uint8]:
    """An ``(Y, X, 3)`` picture with the grid on it: full lines where there is evidence, thin dark ones elsewhere."""
    out = picture.copy()
    for name, colour in (("smooth", (150, 120, 60)), ("supported", GRID_COLOUR)):
        corners = [np.round(np.asarray(line) * 16 - 8).astype(np.int32) for line in lines[name]]
        cv2.polylines(out, corners, isClosed=False, color=colour, thickness=1, lineType=cv2.LINE_AA, shift=4)
    return out


def words(result: Result) -> list[tuple[str, str]]:
    """Names and values of what was measured of the field."""
    bent, unit = result.bending, result.fixed.unit
    assert bent is not None
    what = "volumes" if result.moving_from_fixed.ndim == 3 else "areas"
    exact = _EXACT * min(result.fixed.spacing)
    back = content.length(bent.residual, unit) if np.isfinite(bent.residual) else "no inverse: the map folds somewhere"
    if bent.residual < exact:
        back = f"less than {content.length(exact, unit)}"
    rows = [
        ("Displacement beyond the linear map, median", content.length(bent.median, unit)),
        ("Displacement beyond the linear map, largest", content.length(bent.greatest, unit)),
        (
            "Jacobian determinant",
            f"{content.figure(bent.least_volume)} to {content.figure(bent.greatest_volume)}: {what} change by these "
            f"factors beyond the linear map{'; it folds where this is not positive' if bent.folds else ', no folds'}",
        ),
        ("Inverse-consistency error, largest", back),
    ]
    share = result.maps.get("field_evidence")
    known = None if share is None else share[np.isfinite(share)]
    if known is not None and known.size:
        rows.append(
            (
                "Rests on evidence",
                f"on {100 * float(np.mean(known >= EVIDENCE)):.0f} % of what both images show; elsewhere on smoothness",
            )
        )
    return rows


def describe(
    result: Result, ground: NDArray[np.uint8], plane: Grid, axes: tuple[int, int] = (0, 1), title: str = ""
) -> dict[str, Any]:
    """The maps of a field over one plane, ready for the template.

    Parameters
    ----------
    result : Result
        With a field.
    ground : (Y, X, 3) array of uint8
        The overlay over that plane.
    plane, axes
        As for `displacements`.
    title : str
        Where the plane lies; empty for the whole of an image.
    """
    unit = plane.unit
    longest = max(ground.shape[:2])
    factor = float(np.clip(longest, _SHORTEST, _LONGEST)) / longest
    shape = max(1, round(ground.shape[0] * factor)), max(1, round(ground.shape[1] * factor))
    small = np.asarray(display.resize(ground, shape), np.uint8)
    lines = grid_lines(result, plane, axes, shape)
    pixel = plane.extent[axes[1]] / shape[1]
    drawn = pictures.with_scale_bar(drawn_grid(small, lines), pixel, plane.frame.symbol)
    coarse = list(plane.shape)
    for axis in axes:
        coarse[axis] = max(2, round(_ASKED * plane.extent[axis] / max(plane.extent)))
    asked = plane.resized(coarse)
    lengths = np.linalg.norm(displacements(result, asked, axes), axis=-1)
    known = lengths[np.isfinite(lengths)]
    most = float(known.max()) if known.size else 0.0
    figures = [
        {
            "picture": _jpeg(drawn),
            "title": "Deformed grid",
            "words": f"Regular lines of the fixed image as they lie in the moving image beyond the linear map; "
            f"displacements are drawn {lines['size']}. Bright lines rest on evidence, dark "
            "ones on smoothness.",
            "scale": None,
        },
        {
            "picture": _png(_grown(pictures.heat(lengths, 0.0, most), shape)),
            "title": "Displacement beyond the linear map",
            "words": "",
            "scale": _scale("0", content.length(most, unit)),
        },
    ]
    share = evidence(result, asked, axes)
    if share is not None:
        share = np.where(np.isfinite(lengths), share, np.nan)
        figures.append(
            {
                "picture": _png(_grown(pictures.heat(share, 0.0, 1.0), shape)),
                "title": "What the field rests on",
                "words": "",
                "scale": _scale("smoothness alone", "evidence"),
            }
        )
    return {"title": title, "figures": figures}


def _grown(layer: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(layer, shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _scale(low: str, high: str) -> dict[str, str]:
    return {"ramp": _png(pictures.heat(np.linspace(0, 1, 128)[None], 0, 1)), "low": low, "high": high}


def _png(picture: NDArray[np.uint8]) -> str:
    return display.data_uri(display.encode(picture, "png"))


def _jpeg(picture: NDArray[np.uint8]) -> str:
    return display.data_uri(display.encode(picture, "jpeg", 88))
