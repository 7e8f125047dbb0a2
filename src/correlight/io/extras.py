"""Readers of others that are installed on request only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
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
        raise ReadError(f'Reading {files} needs the package {name}; run: pip install "correlight[formats]".') from error


@contextmanager
def losses_raised() -> Iterator[None]:
    """Make an error of what a reader only warns of: parts of a file that it could not read and leaves black."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield
