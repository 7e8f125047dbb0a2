"""Files that others wrote, taken without trust: names, checksums, and small texts, JSON and XML of a bounded size.

Metadata and transforms of other tools come as text. None of them needs the entities of a document type definition,
which is what XML bombs and references to foreign files are made of, so a definition is refused, or read past where
programs write one that declares elements only. Only regular files are opened: a pipe or a device has no end.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

from correlight.errors import ReadError

_BLOCK = 2**22  # bytes of a file that are hashed at a time
LIMIT = 64 * 2**20  # bytes; a hundred times what a long list of landmarks needs
# A parsed document takes some thirty times the memory of its text where it is made of the smallest possible pieces.
JSON_LIMIT = 16 * 2**20
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MOST_ELEMENTS = 2_000_000  # of one XML document, about 300 MB of memory
# Characters of a namespace, which the parser spells out for every element and attribute that is in it.
_LONGEST_NAMESPACE = 1000
_QUOTE = re.compile("[\"']")


_OPENED: ContextVar[set[str] | None] = ContextVar("opened", default=None)


@contextmanager
def opened_files() -> Iterator[set[str]]:
    """The names of all files that are opened in the block, those included that other files name."""
    opened: set[str] = set()
    token = _OPENED.set(opened)
    try:
        yield opened
    finally:
        _OPENED.reset(token)


def open_regular(path: str | Path, expected: str) -> BinaryIO:
    """Open a file for reading, if it is one.

    Parameters
    ----------
    path : str or Path
        The file; links are followed.
    expected : str
        What it should be, with its article, for the message of an error.

    Raises
    ------
    ReadError
        If it does not exist, cannot be opened, or is a folder, a pipe, a device or a socket.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        # Looked at before it is opened, as opening a device may do something; and again, should it have been replaced.
        _refuse_others(path, os.stat(path).st_mode, expected)
        number = os.open(path, flags)
        try:
            _refuse_others(path, os.fstat(number).st_mode, expected)
            opened = _OPENED.get()
            if opened is not None:
                opened.add(os.path.abspath(path))
            return os.fdopen(number, "rb")
        except BaseException:
            os.close(number)
            raise
    except ReadError:
        raise
    except FileNotFoundError as error:
        raise ReadError(f"Expected {expected}, but {path} does not exist; check the path.") from error
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or error
        raise ReadError(f"Cannot open {path}: {detail}; check its permissions.") from error


def is_regular(path: str | Path) -> bool:
    """Whether there is a regular file, which may be a link to one."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_plain_name(name: str) -> bool:
    """Whether a name that a file states can only be that of a file beside it: no folders, drives or odd characters."""
    return bool(name) and name not in (".", "..") and not any(c in "/\\:\0" or ord(c) < 32 for c in name)


def stem_of(path: str | Path) -> str:
    """The name of a file without its ending, ``.ome`` before that included."""
    name = Path(path).name
    return name.removesuffix(Path(name).suffix).removesuffix(".ome")


def sha256(path: str | Path) -> str:
    """Checksum of a file, or of the names and contents of all files in a folder."""
    path = Path(path)
    if path.is_dir():
        total = hashlib.sha256()
        for entry in files_in(path):
            total.update(f"{entry.relative_to(path).as_posix()}\0{sha256(entry)}\n".encode())
        return total.hexdigest()
    with open_regular(path, "a file") as file:
        total = hashlib.sha256()
        while block := file.read(_BLOCK):
            total.update(block)
        return total.hexdigest()


def files_in(folder: Path) -> list[Path]:
    """All regular files in a folder and those below it, by name."""
    return sorted(entry for entry in folder.rglob("*") if is_regular(entry))


def resolved(path: str | Path) -> Path:
    """The absolute path behind all links, which need not exist.

    Links that lead round in a circle, and names that no file can have, come back as they are: opening them tells.
    """
    try:
        # `Path.resolve` raises an error of its own where links lead round in a circle.
        return Path(os.path.realpath(path))
    except ValueError:
        return Path(path).absolute()


def _refuse_others(path: str | Path, mode: int, expected: str) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    )
    what = next((name for test, name in kinds if test(mode)), "no regular file")
    raise ReadError(f"Expected {expected}, but {path} is {what}; name a regular file.")


def read_bytes(path: str | Path, expected: str, *, limit: int = LIMIT) -> bytes:
    """The bytes of a regular file.

    Parameters
    ----------
    path : str or Path
        The file.
    expected : str
        What should be in it, as for `open_regular`.
    limit : int
        Bytes beyond which the file is not read.

    Raises
    ------
    ReadError
        If the file cannot be opened, is no regular file, or is longer than the limit.
    """
    with open_regular(path, expected) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            # Of a file that grows meanwhile no more is taken than the limit and one byte.
            data = b"" if size > limit else file.read(limit + 1)
        except OSError as error:
            raise ReadError(f"Expected {expected}, but {path} cannot be read: {error.strerror or error}.") from error
    if size > limit or len(data) > limit:
        raise ReadError(f"Expected {expected}, but {path} has more than {limit / 2**20:.0f} MiB; give the right file.")
    return data


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
        As for `read_bytes`, and if it is no text in UTF-8, or in UTF-16 with a byte-order mark.
    """
    data = read_bytes(path, expected, limit=limit)
    try:
        # A byte-order mark is what editors on Windows put first; spreadsheets save "Unicode text" in 16 bits.
        return data.decode("utf-16" if data.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(
            f"Expected {expected}, but {path} is no plain text in UTF-8; save or export it again as such."
        ) from error


def plain(start: bytes) -> str:
    """The beginning of a text of either kind that `read_text` reads, whatever else it may be; for recognising it."""
    if start.startswith(_WIDE):
        return start[: len(start) // 2 * 2].decode("utf-16", errors="replace")
    return start.decode("utf-8", errors="replace")


def read_json(path: str | Path, expected: str, *, limit: int = JSON_LIMIT) -> Any:
    """The content of a JSON file; ``NaN`` and ``Infinity`` pass, as Java programs write them.

    Raises
    ------
    ReadError
        As for `read_text`, and if it is no JSON.
    """
    text = read_text(path, expected, limit=limit)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(
            f"Expected {expected}, but {path} is no valid JSON; check that the file is complete."
        ) from error


def read_xml(path: str | Path, expected: str, *, doctype: bool = False) -> ElementTree.Element:
    """The root of an XML file.

    Parameters
    ----------
    path : str or Path
        The file.
    expected : str
        What should be in it, as for `open_regular`.
    doctype : bool
        As for `parse_xml`.

    Raises
    ------
    ReadError
        As for `read_bytes` and `parse_xml`.
    """
    data = read_bytes(path, expected)
    head = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    declared = head.partition(b"?>")[0].upper()
    # Java programs declare Latin-1 where their platform does; anything else that is no UTF-8 is damaged.
    latin = head.startswith(b"<?xml") and (b"ISO-8859-1" in declared or b"WINDOWS-1252" in declared)
    try:
        text = data.decode("latin-1" if latin else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(f"Expected {expected}, but {path} is no plain text; export it again.") from error
    return parse_xml(text, f"Expected {expected}, but {path}", doctype=doctype)


def parse_xml(text: str, subject: str, *, doctype: bool = False) -> ElementTree.Element:
    """The root of an XML text.

    Parameters
    ----------
    text : str
        The document.
    subject : str
        How the sentence of an error begins: "Expected a dataset, but a.xml".
    doctype : bool
        Whether a document type definition is read past. Even then entities are refused, those that it declares and
        files that it refers to.

    Raises
    ------
    ReadError
        If it is not well-formed, brings a document type definition that is not wanted, a namespace without end, or too
        many elements.
    """
    _check_namespaces(text, subject)
    parser = ElementTree.XMLParser(target=_Builder(subject))
    try:
        data = _undeclared(text)
        _check_prolog(data, subject, doctype)
        parser.feed(data)
        root = parser.close()
    except (ElementTree.ParseError, expat.ExpatError, RecursionError, UnicodeEncodeError) as error:
        raise ReadError(f"{subject} is no well-formed XML ({error}); export it again.") from error
    assert isinstance(root, ElementTree.Element)
    return root


def check_xml(text: str, subject: str) -> None:
    """Refuse an XML text that `parse_xml` would not read, before a library parses it; what is no XML passes.

    Parameters
    ----------
    text, subject : str
        As for `parse_xml`.

    Raises
    ------
    ReadError
        If it brings a document type definition or a namespace without end.
    """
    _check_namespaces(text, subject)
    with suppress(expat.ExpatError, UnicodeEncodeError):
        _check_prolog(_undeclared(text), subject, False)


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree, and stops where there are too many elements."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self._subject, self._count = subject, 0

    def start(self, tag: Any, attrs: Any, /) -> ElementTree.Element:
        self._count += 1
        if self._count > _MOST_ELEMENTS:
            raise ReadError(f"{self._subject} has more than {_MOST_ELEMENTS:,} elements; give the right file.")
        return super().start(tag, attrs)


def _check_namespaces(text: str, subject: str) -> None:
    """Refuse a long namespace; in one pass, whatever the text."""
    at, quote = text.find("xmlns"), _QUOTE.search(text)
    while at >= 0:
        if quote is not None and quote.start() < at:
            quote = _QUOTE.search(text, at)
        if quote is None:
            return
        end = quote.end() + _LONGEST_NAMESPACE
        if len(text) > end and text.find(quote[0], quote.end(), end) < 0:
            raise ReadError(
                f"{subject} has a namespace of more than {_LONGEST_NAMESPACE:,} characters; export it again."
            )
        at = text.find("xmlns", at + 5)


def _check_prolog(data: bytes, subject: str, doctype: bool) -> None:
    """Read as far as the root element and refuse what a document type definition must not bring."""

    def on_doctype(*_: Any) -> None:
        if not doctype:
            raise ReadError(f"{subject} brings a document type definition, which is not read; remove it.")

    def on_entity(*_: Any) -> None:
        raise ReadError(f"{subject} declares an entity in its document type definition, which is not read; remove it.")

    def on_attribute(_element: str, _name: str, _type: str, default: str | None, _required: bool) -> None:
        # A long value that is repeated for every element is as much of a bomb as an entity.
        if default is not None:
            raise ReadError(f"{subject} declares default values of attributes, which are not read; remove them.")

    def on_root(*_: Any) -> None:
        raise _PrologEndsError

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = on_doctype
    parser.EntityDeclHandler = on_entity
    parser.AttlistDeclHandler = on_attribute
    parser.StartElementHandler = on_root
    with suppress(_PrologEndsError):
        parser.Parse(data, True)


class _PrologEndsError(Exception):
    """The root element begins."""


def _undeclared(text: str) -> bytes:
    """The document as UTF-8; an encoding that it names is that of its bytes, which are decoded already."""
    return (text.lstrip().partition("?>")[2] if text.lstrip().startswith("<?xml") else text).encode("utf-8")
