"""The report of a training: curves, what the model makes of held-out parts, and what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import correlight
from correlight.images import display
from correlight.images.image import Float32
from correlight.output.report import content
from correlight.output.report.page import template
from correlight.predict.facts import ModelFacts
from correlight.predict.training import Sample, Trained

_LONGEST = 420
# The drawing of the curves, in its own units.
_WIDE, _HIGH, _RIM = 640, 240, 44
# Names of colours of the page.
_COLOURS = ("accent", "mixed", "good", "bad")


def write_training_report(path: Path, facts: ModelFacts, trained: Trained, left_out: Sequence[str]) -> None:
    """Write one self-contained HTML file about a training.

    Parameters
    ----------
    path : Path
        The file.
    facts : ModelFacts
        What the model states.
    trained : Trained
        What the training handed over.
    left_out : sequence of str
        Pairs that were not used, and why.
    """
    page = template("training.html.j2").render(
        title=f"{facts.source} to {facts.target}",
        version=correlight.__version__,
        remarks=trained.remarks,
        curves=drawn(trained.curves),
        samples=[_pictures(sample) for sample in trained.samples],
        left_out=left_out,
        facts=_facts(facts),
        pairs=facts.provenance.get("pairs", []),
    )
    path.write_text(page, encoding="utf-8")


def drawn(curves: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any] | None:
    """Curves as lines of a drawing of 640 by 240 units, with the ends of its axes; None where there are none."""
    points = [point for line in curves.values() for point in line if np.isfinite(point[1])]
    if not points:
        return None
    steps, values = np.array(points).T
    most, highest = float(steps.max()), float(values.max())
    width, height = _WIDE - 2 * _RIM, _HIGH - 2 * _RIM

    def place(step: float, value: float) -> str:
        across = _RIM + width * step / max(most, 1)
        return f"{across:.1f},{_HIGH - _RIM - height * value / max(highest, 1e-9):.1f}"

    lines = [
        {"name": name, "colour": colour, "points": " ".join(place(*point) for point in line if np.isfinite(point[1]))}
        for (name, line), colour in zip(curves.items(), _COLOURS, strict=False)
    ]
    return {"lines": lines, "steps": f"{most:.0f}", "highest": content.figure(highest), "size": (_WIDE, _HIGH, _RIM)}


def _pictures(sample: Sample) -> dict[str, Any]:
    parts = (("source", sample.source), ("target", sample.target), ("predicted", sample.predicted))
    return {"name": sample.name, "figures": [{"title": name, "picture": _picture(values)} for name, values in parts]}


def _picture(values: Float32) -> str:
    factor = min(1.0, _LONGEST / max(values.shape))
    shape = max(1, round(values.shape[0] * factor)), max(1, round(values.shape[1] * factor))
    grey = display.stretch(display.resize(values, shape), None)
    return display.data_uri(display.encode(grey, "jpeg", 85))


def _facts(facts: ModelFacts) -> list[tuple[str, str]]:
    pixel = content.length(facts.spacing, "micrometre", 4) if facts.spacing else "not stated"
    return [
        ("Kind of model", facts.kind),
        ("Trained", str(facts.provenance.get("trained", "unknown"))),
        ("Pixel size of the model", f"{pixel}; {content.figure(facts.shrink)} pixels of the training images"),
        ("Contrast", facts.contrast),
        *((name, str(value)) for name, value in facts.provenance.get("settings", {}).items()),
        *(("Version", f"{name} {value}") for name, value in facts.provenance.get("versions", {}).items()),
    ]
