"""Packages that only notebooks need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from correlight.errors import UsageError


def needed(module: str, purpose: str) -> Any:
    """A module of the extra ``notebook``.

    Raises
    ------
    UsageError
        If it is not installed; the sentence says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(
            f"For {purpose} the package {package} is needed, and it cannot be imported ({error}); install "
            "correlight[notebook]."
        ) from error
