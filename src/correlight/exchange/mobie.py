"""Views of MoBIE, which place a source by affine transforms.

The parameters are the three rows of a matrix with x first, in physical units, and act on the calibrated source in the
order of the list. A new view goes into a file of its own (``misc/views/<name>.json``); the dataset stays as it is.
(mobie-utils-python, mobie/schema/views.schema.json)
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from correlight.errors import ReadError, TransformError, UsageError, WriteError
from correlight.exchange.context import UNKNOWN, ExchangeContext, affine_from_xyz, require_affine, xyz_from_affine
from correlight.exchange.reading import reads
from correlight.parsing import read_json
from correlight.transforms import Affine, Transform

_VIEW = "correlight"
# Grey values that are shown where nothing is known of the image, and what a name must not contain.
WHOLE_RANGE = 0.0, 65_535.0
_NAME = re.compile(r"[^;,\\/\s\x00-\x1f\x7f]+")


@reads("a view of MoBIE")
def read_mobie(path: str | Path, context: ExchangeContext = UNKNOWN) -> Affine:
    """Read how a source is placed.

    Parameters
    ----------
    path : str or Path
        A file with ``views``, or a single view.
    context : ExchangeContext
        ``name`` chooses the source where the file moves several; ``ndim`` says how many axes to read.

    Returns
    -------
    Affine
        ``moving_from_fixed``, where the fixed frame is that of the viewer.

    Raises
    ------
    ReadError
        If the file is damaged, moves no source, or moves several of which none is chosen.
    """
    content = read_json(path, "a view of MoBIE")
    views = content.get("views", {"": content}) if isinstance(content, dict) else {}
    moves: dict[str, list[Any]] = {}
    placed: dict[str, str] = {}
    for title, view in views.items() if isinstance(views, dict) else []:
        for entry in view.get("sourceTransforms", []) if isinstance(view, dict) else []:
            affine = entry.get("affine") if isinstance(entry, dict) else None
            if not isinstance(affine, dict):
                kinds = ", ".join(entry)[:60] if isinstance(entry, dict) else "none"
                raise ReadError(f"Only affine transforms of sources can be read; {path} holds {kinds}.")
            sources = affine.get("sources", [])
            if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
                raise ReadError(f"A list of names was expected as the sources of a transform in {path}.")
            for source in sources:
                # Each view places a source anew.
                if placed.setdefault(source, title) == title:
                    moves.setdefault(source, []).append(affine.get("parameters"))
    name = context.name if context.name is not None else next(iter(moves), None)
    if name not in moves or (context.name is None and len(moves) > 1):
        known = ", ".join(sorted(moves))[:200] or "none"
        raise ReadError(f"One moved source was expected in {path}, which moves {known}; choose one by its name.")
    rows = np.eye(4)
    for parameters in moves[name]:
        try:
            numbers = np.array(parameters, float)
        except (TypeError, ValueError):
            numbers = np.zeros(0)
        if numbers.shape != (12,) or not np.isfinite(numbers).all():
            raise ReadError(f"12 finite parameters were expected for {name} in {path}; got {str(parameters)[:60]}.")
        rows = np.vstack([numbers.reshape(3, 4), [0, 0, 0, 1]]) @ rows
    try:
        return affine_from_xyz(rows[:3], context.ndim, f"The transform in {path}").inverse()
    except TransformError as error:
        raise ReadError(f"The transform in {path} cannot be used: {error}") from error


def write_mobie(path: str | Path, moving_from_fixed: Transform, context: ExchangeContext) -> None:
    """Write a view that places the moving source and shows it in addition to what is shown already.

    Parameters
    ----------
    path : str or Path
        ``misc/views/<name>.json`` of the project.
    moving_from_fixed : Affine
        Takes fixed to moving positions.
    context : ExchangeContext
        ``name`` is the moving source as the dataset calls it; ``shown`` are its contrast limits, those of 16 bits
        without.

    Raises
    ------
    TransformError
        If the transform is not affine.
    UsageError
        If the source has no name, or one that MoBIE does not allow.
    WriteError
        If the file cannot be written.
    """
    affine = require_affine(moving_from_fixed, "MoBIE")
    if not context.name:
        raise UsageError("A view of MoBIE names the source that it moves; give its name.")
    if not _NAME.fullmatch(context.name):
        raise UsageError(f"A name without blanks, slashes, commas and semicolons was expected; got {context.name!r}.")
    # MoBIE's own validator asks for floats, which is what tolist gives.
    parameters = xyz_from_affine(affine.inverse()).ravel().tolist()
    move = {"name": _VIEW, "sources": [context.name], "parameters": parameters}
    display = {
        "name": context.name,
        "sources": [context.name],
        "color": "r=255,g=64,b=255,a=255",
        "contrastLimits": [float(value) for value in context.shown or WHOLE_RANGE],
        "opacity": 1.0,
        "blendingMode": "sum",
    }
    view = {
        "uiSelectionGroup": _VIEW,
        "isExclusive": False,
        "sourceDisplays": [{"imageDisplay": display}],
        "sourceTransforms": [{"affine": move}],
    }
    try:
        Path(path).write_text(json.dumps({"views": {_VIEW: view}}, indent=2) + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise WriteError(f"The view cannot be written to {path}: {error.strerror or error}.") from error
