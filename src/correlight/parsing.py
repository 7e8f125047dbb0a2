"""Small documents that others wrote, read without trust: text, JSON and XML of a bounded size.

Metadata and transforms of other tools come as text. None of them needs a document type definition, which is what XML
bombs and references to foreign files are made of, so one is refused wherever it is met.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from correlight.errors import ReadError

LIMIT = 64 * 2**20  # bytes; a hundred times what a long list of landmarks needs


def read_text(path: str | Path, expected: str, *, limit: int = LIMIT) -> str:
    """The text of a file.

    Parameters
    ----------
    path : str or Path
        The file.
    expected : str
        What should be in it, with its article, for the message of an error: "an ITK transform in text".
    limit : int
        Bytes beyond which the file is not read.

    Raises
    ------
    ReadError
        If the file cannot be opened, is longer than the limit, or is no text in UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ReadError(f"Expected {expected}, but {path} cannot be read: {error.strerror or error}.") from error
    if len(data) > limit:
        raise ReadError(f"Expected {expected}, but {path} has more than {limit / 2**20:.0f} MiB; give the right file.")
    try:
        # A byte-order mark is what editors on Windows put first.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(f"Expected {expected}, but {path} is no plain text; export it again.") from error


def read_json(path: str | Path, expected: str) -> Any:
    """The content of a JSON file; ``NaN`` and ``Infinity`` pass, as Java programs write them.

    Raises
    ------
    ReadError
        As for `read_text`, and if it is no JSON.
    """
    text = read_text(path, expected)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(
            f"Expected {expected}, but {path} is no valid JSON; check that the file is complete."
        ) from error


def read_xml(path: str | Path, expected: str) -> ElementTree.Element:
    """The root of an XML file.

    Raises
    ------
    ReadError
        As for `read_text` and `parse_xml`.
    """
    return parse_xml(read_text(path, expected), f"Expected {expected}, but {path}")


def parse_xml(text: str, subject: str) -> ElementTree.Element:
    """The root of an XML text without document type definition.

    Parameters
    ----------
    text : str
        The document.
    subject : str
        How the sentence of an error begins: "Expected a dataset, but a.xml".

    Raises
    ------
    ReadError
        If it is not well-formed or brings a document type definition.
    """
    parser = ElementTree.XMLParser(target=_Builder(subject))
    try:
        # An encoding named in the document is that of its bytes, which are decoded already.
        parser.feed(text.encode("utf-8") if not text.lstrip().startswith("<?xml") else _undeclared(text))
        root = parser.close()
    except (ElementTree.ParseError, RecursionError) as error:
        raise ReadError(f"{subject} is no well-formed XML ({error}); export it again.") from error
    assert isinstance(root, ElementTree.Element)
    return root


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree, and stops at the first sign of a document type definition."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self._subject = subject

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ReadError(f"{self._subject} brings a document type definition, which is not read; remove it.")


def _undeclared(text: str) -> bytes:
    return text.lstrip().partition("?>")[2].encode("utf-8")
