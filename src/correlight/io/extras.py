"""Readers of others that are installed on request only."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from correlight.errors import ReadError


def reader(name: str, files: str) -> ModuleType:
    """A package of the extra ``formats``.

    Parameters
    ----------
    name : str
        The package.
    files : str
        What it reads, as a sentence calls it.

    Raises
    ------
    ReadError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ReadError(
            f'Reading {files} needs the package {name.partition(".")[0]}; run: pip install "correlight[formats]".'
        ) from error


def known_in_part(sizes: Mapping[str, float], spatial: str) -> tuple[str, ...]:
    """What is said where a pixel size is known along some axes only, and so none can be used.

    Parameters
    ----------
    sizes : mapping of str to float
        Micrometres per pixel by axis, where it is known.
    spatial : str
        The axes of the image: "YX" or "ZYX".
    """
    known = [f"{sizes[axis]:g} µm along {axis.lower()}" for axis in spatial if axis in sizes]
    lacking = " and ".join(axis.lower() for axis in spatial if axis not in sizes)
    if not known or not lacking:
        return ()
    return (f"the pixel size is {' and '.join(known)}, but not stated along {lacking}, so none is used",)


@contextmanager
def losses_raised() -> Iterator[None]:
    """Make an error of what a reader only warns of: parts of a file that it could not read and leaves black."""
    logs = [logging.getLogger(name) for name in ("liffile", "nd2", "tifffile", "mrcfile")]
    quiet = _Quiet()
    for log in logs:
        log.addFilter(quiet)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("error", RuntimeWarning)
            yield
    finally:
        for log in logs:
            log.removeFilter(quiet)


class _Quiet(logging.Filter):
    """Keeps lines that readers log about damaged files off the terminal: our own sentence says it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False
