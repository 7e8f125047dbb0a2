"""The files that a result was made of: where they were, or, should they have moved with it, beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from correlight.errors import ReadError, UsageError
from correlight.images.image import Image
from correlight.io import read
from correlight.parsing import resolved

# What a folder holds that stands in a record; of any other one, not even the size is known.
_MARKS = "result.json", "model.json", "zarr.json", ".zgroup", ".zarray"


def places(path: Path, folder: Path) -> Iterator[Path]:
    """Where a file may be: where it was, or, should both have moved, at any end of its path from a folder above."""
    yield path
    ends = [path.parts[start:] for start in range(path.is_absolute(), len(path.parts))]
    yield from (parent.joinpath(*end) for parent in (folder, *folder.parents) for end in ends)


def may_be_recorded(path: Path) -> bool:
    """Whether there is something at a place that a record may name: a file, or a folder of a kind that is read."""
    return path.is_file() or any((path / name).is_file() for name in _MARKS)


def original(
    role: Literal["fixed", "moving"], given: str | Path | None, record: Path, content: Mapping[str, Any]
) -> Image:
    """The image that a result was made of.

    Parameters
    ----------
    role : {"fixed", "moving"}
        Which of the two.
    given : str or Path, optional
        Its file, where it is not to be looked for.
    record : Path
        The ``result.json``.
    content : mapping
        What stands in it.

    Raises
    ------
    ReadError
        If there is no such file any more, or it holds something else.
    UsageError
        If the image was an array.
    """
    try:
        path, expected, part = content[role]["path"], content[role]["sha256"], dict(content[role].get("part") or {})
        asked = None if path is None else Path(path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReadError(f"The record of a registration was expected in {record}, which was changed.") from error
    if given is not None:
        return read(given, **part)
    if asked is None:
        raise UsageError(f"The {role} image of {record} was no file; give one (as the {role} image).")
    others = []
    for place in places(asked, resolved(record).parent):
        if not may_be_recorded(place):
            continue
        # Another file of that name need not even be an image.
        with suppress(ReadError, UsageError):
            image = read(place, **part)
            if image.source.get("sha256") == expected:
                return image
        others.append(place)
    if others:
        raise ReadError(f"{others[0]} ({role}) holds something else than when it was registered; give the original.")
    raise ReadError(f"{asked} ({role}) was not found; put it back, or beside the result, or give it.")
