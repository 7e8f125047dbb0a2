"""A table of the images of a session, one per row, and how each lies to the image that was registered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from correlight.errors import ReadError
from correlight.exchange.flat import FARTHEST, TABLE_LIMIT
from correlight.exchange.spreadsheet import columns_and_rows, names_of, number_of
from correlight.images.image import Image
from correlight.io import WHOLE, Selection, calibration
from correlight.output.parts import Common
from correlight.parsing import open_regular, plain

_COLUMNS = ("image", "spacing", "magnification", "offset_y", "offset_x", "stage_y", "stage_x", "unit", "labels",
            "scene", "series", "time", "view")  # fmt: skip
_MOST_IMAGES = 100_000
_SIZES = calibration.SMALLEST, calibration.LARGEST  # micrometres per pixel
_YES, _NO = ("yes", "true", "1"), ("", "no", "false", "0")


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a session, as the table states it.

    Parameters
    ----------
    path : Path
        The file.
    spacing : float or None
        Micrometres per pixel.
    magnification : float or None
        In the same terms as that of the image that was registered.
    offset : (y, x) or None
        Where the first pixel lies in the frame of the image that was registered, in ``unit``.
    stage : (y, x) or None
        Position of the stage in micrometres.
    unit : {"pixel", "micrometre"}
        Of the offset: pixels of the image that was registered, or micrometres.
    labels : bool
        Whether the image holds labels.
    part : Selection
        Which scene, series, frame or view of the file.
    """

    path: Path
    spacing: float | None = None
    magnification: float | None = None
    offset: tuple[float, float] | None = None
    stage: tuple[float, float] | None = None
    unit: str = "pixel"
    labels: bool = False
    part: Selection = WHOLE

    def read(self, common: Common) -> Image:
        """The image, or the part of the file that is meant, by a choice of its own or the common one."""
        return common.read(self.path, self.part.stated, spacing=self.spacing, blank=True)


def holds_session(path: str | Path) -> bool:
    """Whether a CSV is a table of images, judged by its header."""
    try:
        with open_regular(path, "a table in CSV") as file:
            return "image" in names_of(plain(file.read(10_000)))
    except (ReadError, OSError):
        return False


def read_session(path: str | Path) -> tuple[Member, ...]:
    """The images of a session from a CSV with the column ``image`` and any of the others that `Member` has.

    Paths are relative to the table. Offsets are the columns ``offset_y,offset_x``, positions of the stage
    ``stage_y,stage_x``.

    Raises
    ------
    ReadError
        If the table cannot be read, has other columns, or a cell does not hold what it should.
    """
    heads, lines = columns_and_rows(path, TABLE_LIMIT, _MOST_IMAGES)
    rows = [dict(zip(heads, line, strict=True)) for line in lines]
    unknown = [name for name in heads if name not in _COLUMNS]
    if "image" not in heads or unknown:
        what = f"unknown: {', '.join(unknown)}" if unknown else "the column image is missing"
        raise ReadError(
            f"A table of images has the columns {', '.join(_COLUMNS)} (all but the first optional); {what}."
        )
    return tuple(_member(row, Path(path), number) for number, row in enumerate(rows, start=1))


def _member(cells: dict[str, str], table: Path, number: int) -> Member:
    if any("\0" in value for value in cells.values()):
        raise ReadError(f"Row {number} of {table} holds a NUL character, which no text has; export the table again.")

    def figure(name: str, *, positive: bool = False) -> float | None:
        text = cells.get(name, "")
        if not text:
            return None
        try:
            value = number_of(text)
        except ValueError:
            value = float("nan")
        least, most = _SIZES if name == "spacing" else (1 / FARTHEST if positive else -FARTHEST, FARTHEST)
        if not least <= value <= most:
            raise ReadError(
                f"A {'positive ' if positive else ''}number was expected as {name} in row {number} of {table}, from "
                f"{least:g} to {most:g}; got {text[:40]!r}."
            )
        return value

    def place(name: str) -> tuple[float, float] | None:
        y, x = figure(f"{name}_y"), figure(f"{name}_x")
        if (y is None) != (x is None):
            raise ReadError(f"Both {name}_y and {name}_x were expected in row {number} of {table}, or neither.")
        return None if y is None or x is None else (y, x)

    def whole(name: str) -> int | None:
        text = cells.get(name, "")
        if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise ReadError(f"A whole number from 0 was expected as {name} in row {number} of {table}.")
        return int(text) if text else None

    if not cells["image"]:
        raise ReadError(f"The name of an image was expected in row {number} of {table}.")
    unit = {"": "pixel", "px": "pixel", "pixel": "pixel", "um": "micrometre", "µm": "micrometre"}.get(
        cells.get("unit", "").lower(), cells.get("unit", "").lower()
    )
    labels = cells.get("labels", "").lower()
    if unit not in ("pixel", "micrometre") or labels not in (*_YES, *_NO):
        raise ReadError(f"A unit is pixel or micrometre and labels are yes or no; row {number} of {table} differs.")
    return Member(
        table.parent / cells["image"],
        figure("spacing", positive=True),
        figure("magnification", positive=True),
        place("offset"),
        place("stage"),
        unit,
        labels in _YES,
        Selection(cells.get("scene") or None, 0, whole("time"), whole("series"), cells.get("view") or None),
    )
