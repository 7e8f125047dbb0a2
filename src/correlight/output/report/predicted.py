"""What the report shows of a prediction: the image that a model saw, what it made of it, and what the model is."""

from __future__ import annotations

from typing import Any

import numpy as np

from correlight.images import display
from correlight.output.report import content
from correlight.registration.result import Predicted, Result

_LONGEST = 640
NOTICE = (
    "The images were compared through a prediction by a trained model. Predicted detail is not data: it served to find "
    "the transform and nothing else, and must not be measured or interpreted."
)


def describe(result: Result) -> dict[str, Any] | None:
    """Words and pictures of the prediction behind a result; None where there was none."""
    known = result.predicted
    if known is None:
        return None
    source, target = (str(known.model[name]) for name in ("source", "target"))
    return {
        "role": known.role,
        "notice": NOTICE,
        "figures": [
            {"title": f"As acquired ({source})", "picture": _picture(known.original)},
            {"title": f"As predicted ({target}), not data", "picture": _picture(known.values)},
        ],
        "facts": _facts(known),
    }


def _facts(known: Predicted) -> list[tuple[str, str]]:
    model = known.model
    pixel = content.length(model["spacing"], "micrometre", 4) if model["spacing"] else "not stated"
    trained = model["provenance"].get("trained", "unknown")
    return [
        ("Kind of model", str(model["kind"])),
        ("Folder of the model", known.folder),
        ("SHA-256", ", ".join(f"{name} {digest}" for name, digest in sorted(model["files"].items()))),
        ("Trained", str(trained)),
        ("Pixel size of the model", pixel),
        ("Out-of-distribution score of the image", f"{content.figure(known.unusualness)} (up to 1 is usual)"),
    ]


def _picture(values: Any) -> str:
    factor = min(1.0, _LONGEST / max(values.shape))
    shape = max(1, round(values.shape[0] * factor)), max(1, round(values.shape[1] * factor))
    grey = np.asarray(np.clip(display.resize(values, shape), 0, 1) * 255, np.uint8)
    return display.data_uri(display.encode(grey, "jpeg", 85))
