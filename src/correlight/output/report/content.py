"""What the report says in words and numbers: a pure function from a result to display strings."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import PureWindowsPath
from typing import Any

import correlight
from correlight.geometry import Unit
from correlight.images.image import Image
from correlight.registration.result import BY_HAND, ImageRecord, Result
from correlight.transforms import Affine, Projective

_HEADLINES = {
    "accepted": ("Accepted", "The evidence agrees: use the overlay within its predicted error."),
    "doubtful": ("Doubtful", "The evidence is mixed: check the overlay with your own eyes before you use it."),
    "refused": ("Refused", "The evidence does not support any overlay of these two images."),
}
_SIGNS = {"accepted": "✓", "doubtful": "?", "refused": "✕"}
_SOFTWARE = "correlight"
# How label images are moved; findings that hold these words go into the methods as well.
NEAREST = "nearest neighbour"


def figure(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent in the usual range; "unknown" without one."""
    if value is None or not isfinite(value):
        return "unknown"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return f"{float(f'{value:.{digits}g}'):.10f}".rstrip("0").rstrip(".")
    return f"{value:.{digits}g}"


def length(value: float | None, unit: Unit, digits: int = 3) -> str:
    """A length with its unit: "3.2 µm", "8.69 nm" below a tenth of a micrometre, "1.5 px"."""
    if value is None or not isfinite(value):
        return "unknown"
    if unit == "pixel":
        return f"{figure(value, digits)} px"
    return f"{figure(value * 1000, digits)} nm" if abs(value) < 0.1 else f"{figure(value, digits)} µm"


def file_name(record: ImageRecord, otherwise: str) -> str:
    """The last part of a path of any system, for headings."""
    return PureWindowsPath(record.path).name if record.path else otherwise


def spacing_text(spacing: Sequence[float], unit: Unit) -> str:
    """A pixel size: one length where the axes agree, else "y × x"; "not stated" without calibration."""
    if unit == "pixel":
        return "not stated"
    if max(spacing) - min(spacing) <= 1e-9 * max(spacing):
        return length(spacing[0], unit, 4)
    return " × ".join(length(part, unit, 4) for part in spacing)


def describe(result: Result, fixed: Image, moving: Image, has_registered: bool) -> dict[str, Any]:
    """Everything that the template prints, apart from pictures.

    Parameters
    ----------
    result : Result
        What the registration found.
    fixed, moving : Image
        The two images.
    has_registered : bool
        Whether a registered image was made; the methods paragraph speaks of resampling only then.
    """
    word, meaning = _HEADLINES[result.status]
    return {
        "title": f"{file_name(result.moving, 'moving image')} on {file_name(result.fixed, 'fixed image')}",
        "status": result.status,
        "sign": _SIGNS[result.status],
        "word": word,
        "meaning": meaning,
        "confidence": f"{result.verdict.confidence:.2f}",
        "reasons": result.verdict.reasons,
        "advice": [one.sentence for one in result.advice],
        "notice": _notice(result, has_registered),
        "facts": _facts(result),
        "evidence": [
            {
                "name": clue.name,
                "value": figure(clue.value),
                "limit": figure(clue.limit),
                "favours": clue.favours,
                "sentence": clue.sentence,
            }
            for clue in result.verdict.evidence
        ],
        "pixel_sizes": _pixel_sizes(result),
        "scale": _scale(result),
        "model": result.model,
        "model_reason": result.model_reason,
        "error": _error(result),
        "files": [_provenance("Fixed", result.fixed), _provenance("Moving", result.moving)],
        "run": _run(result),
        "seconds": [(name, f"{value:.2f}") for name, value in result.seconds.items()],
        "versions": sorted(result.versions.items()),
        "matrix": _matrix(result),
        "axes": fixed.grid.frame.axes,
        "units": (fixed.grid.frame.symbol, moving.grid.frame.symbol),
        "methods": methods(result, has_registered),
        "version": result.versions.get(_SOFTWARE, correlight.__version__),
    }


def _notice(result: Result, has_registered: bool) -> str | None:
    if has_registered:
        return None
    if result.status == "refused":
        return (
            "No registered image was made because the result was refused. The two images are shown side by side "
            "as they are, not overlaid."
        )
    return "No registered image was asked for. The two images are shown side by side as they are."


def _facts(result: Result) -> list[tuple[str, str]]:
    error = _error(result)
    if result.status == "refused":
        # Large figures invite use; those of a refused result stay in the tables below, marked as such.
        error = dict.fromkeys(error, "none given")
    return [
        ("Predicted error, median", error["median"]),
        ("Predicted error, 95 % within", error["within"]),
        ("Transform", "none" if result.status == "refused" else result.model),
        ("Moving px per fixed px", "none" if result.status == "refused" else figure(result.scale_found, 4)),
    ]


def _error(result: Result) -> dict[str, str]:
    unit = result.predicted_error.grid.unit
    return {
        "median": length(result.predicted_error.median, unit),
        "within": length(result.predicted_error.within, unit),
    }


def _pixel_sizes(result: Result) -> list[dict[str, str]]:
    fixed, moving = result.fixed, result.moving
    rows = []
    for role, record, other, ratio in (
        ("Fixed", fixed, moving, result.scale_found),
        ("Moving", moving, fixed, 1 / result.scale_found if result.scale_found else float("nan")),
    ):
        # One fixed pixel spans `scale_found` moving pixels, so each pixel size follows from the other's.
        implied = "—"
        if other.unit == "micrometre" and isfinite(ratio):
            mean = 1.0
            for part in other.spacing:
                mean *= part ** (1 / len(other.spacing))
            implied = length(mean * ratio, "micrometre", 4)
        rows.append(
            {
                "role": role,
                "name": file_name(record, "array"),
                "shape": " × ".join(map(str, record.shape)),
                "claimed": spacing_text(record.spacing, record.unit),
                "source": record.spacing_source,
                "found": implied,
            }
        )
    return rows


def deviation(result: Result) -> float | None:
    """Scale found against the scale claimed, in percent; None where a file claims none."""
    if result.scale_claimed is None:
        return None
    return 100 * (result.scale_found / result.scale_claimed - 1)


def _percent(value: float) -> str:
    return f"{value:+.1f} %".replace("-", "−")


def _scale(result: Result) -> dict[str, str]:
    off = deviation(result)
    return {
        "found": figure(result.scale_found, 4),
        "claimed": "none (at least one image states no pixel size)"
        if result.scale_claimed is None
        else figure(result.scale_claimed, 4),
        "deviation": "—" if off is None else _percent(off),
    }


def _provenance(role: str, record: ImageRecord) -> dict[str, str]:
    return {
        "role": role,
        "path": record.path or "an array, no file",
        "sha256": record.sha256 or "—",
        "channel": record.channel,
        "channels": ", ".join(record.channels),
    }


def _run(result: Result) -> list[tuple[str, str]]:
    return [
        ("Recipe", result.recipe),
        ("Seed", str(result.seed)),
        ("Peak memory", f"{result.peak_memory_mb:.0f} MB"),
    ]


def _matrix(result: Result) -> list[list[str]] | None:
    if not isinstance(result.moving_from_fixed, Affine | Projective):
        return None
    return [[f"{value:.8g}" for value in row] for row in result.moving_from_fixed.matrix]


def methods(result: Result, has_registered: bool) -> str:
    """A paragraph for a methods section that states only what was done to these images.

    Parameters
    ----------
    result : Result
        What the registration found.
    has_registered : bool
        Whether the moving image was resampled.
    """
    version = result.versions.get(_SOFTWARE, correlight.__version__)
    images = f"{_image_text(result.moving)} (moving) and {_image_text(result.fixed)} (fixed)"
    by = f"{_SOFTWARE} {version} (recipe “{result.recipe}”, seed {result.seed})"
    if result.recipe == BY_HAND:
        by = f"{_SOFTWARE} {version} ({result.model_reason.partition(';')[0]})"
    if result.status == "refused":
        why = " ".join(result.verdict.reasons)
        return (
            f"Registration of {images} with {by} was attempted, and {_SOFTWARE} refused the "
            f"result. {why} No overlay of the two images was derived from it."
        ).replace("  ", " ")
    sentences = [
        f"{images[0].upper()}{images[1:]} were registered with {by}, using {_article(result.model)} transform "
        f"with a scale of {figure(result.scale_found, 4)} moving pixels per fixed pixel."
    ]
    off = deviation(result)
    if off is not None:
        sentences.append(f"This scale differs by {_percent(off)} from the ratio of the stated pixel sizes.")
    if has_registered:
        sentences.append(
            "The moving image was resampled once, with linear interpolation, onto the pixel grid of the fixed image, "
            "which was left unchanged."
        )
        sentences.extend(f"{found[0].upper()}{found[1:]}." for found in result.moving.findings if NEAREST in found)
    error = _error(result)
    if error["median"] != "unknown":
        sentences.append(
            f"The predicted registration error was {error['median']} (root mean square, median over the field); 95 % "
            f"of places are predicted to be within {error['within']}."
        )
    confidence = f"{result.verdict.confidence:.2f}"
    if result.status == "accepted":
        sentences.append(f"{_SOFTWARE} accepted the result (confidence {confidence}).")
    else:
        sentences.append(f"{_SOFTWARE} marked the result as doubtful (confidence {confidence}).")
        sentences.extend(result.verdict.reasons)
        sentences.append("It was not confirmed automatically and must be checked by eye.")
    return " ".join(sentences)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def _image_text(record: ImageRecord) -> str:
    size = " × ".join(map(str, reversed(record.shape)))
    pixel = f", pixel size {spacing_text(record.spacing, record.unit)}" if record.unit == "micrometre" else ""
    channel = f", channel “{record.channel}”" if len(record.channels) > 1 and record.channel != "RGB" else ""
    return f"the image {file_name(record, '(array)')} ({size} pixels{channel}{pixel})"
