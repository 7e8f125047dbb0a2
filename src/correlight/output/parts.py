"""One choice of a scene, series, frame or view for several files: it concerns those that hold several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from correlight.errors import NothingToChooseError, UsageError
from correlight.images.image import Image
from correlight.io import read


class Common:
    """A choice that is stated once for all files of a command.

    Parameters
    ----------
    part : mapping
        ``scene``, ``series``, ``time`` and ``view`` as `correlight.io.read` takes them; None for what is not stated.
    """

    def __init__(self, part: Mapping[str, Any] | None = None) -> None:
        self.part = {name: value for name, value in (part or {}).items() if value is not None}
        self._heeded: set[str] = set()
        self._refused: dict[str, str] = {}

    def read(self, path: str | Path, part: Mapping[str, Any] | None = None, **options: Any) -> Image:
        """Read a file, or the part of it that its own choice or else the common one means.

        Parameters
        ----------
        path : str or Path
            The file.
        part : mapping, optional
            What is chosen of this file alone.
        **options
            Others of `correlight.io.read`.

        Raises
        ------
        UsageError
            If it holds several images and not the one that is meant, or nothing to choose by its own choice.
        """
        own = {name: value for name, value in (part or {}).items() if value is not None}
        wanted = self.part | own
        while True:
            try:
                image = read(path, **wanted, **options)
            except NothingToChooseError as error:
                if error.part in own:
                    raise
                self._refused.setdefault(error.part, str(error))
                del wanted[error.part]
            else:
                self._heeded |= wanted.keys() - own.keys()
                return image

    def must_be_heeded(self) -> None:
        """Refuse a choice that no file had anything for; to be called once all files are read.

        Raises
        ------
        UsageError
            If there is one.
        """
        for name in self.part:
            if name in self._refused and name not in self._heeded:
                raise UsageError(self._refused[name])
