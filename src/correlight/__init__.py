"""correlight: one trusted overlay from two microscopes.

The public names are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from correlight.geometry import Frame, Grid
    from correlight.image import Image
    from correlight.transforms import Affine, Displacement, Projective, Sequence, Transform

_HOMES = {
    "Affine": "correlight.transforms",
    "Displacement": "correlight.transforms",
    "Frame": "correlight.geometry",
    "Grid": "correlight.geometry",
    "Image": "correlight.image",
    "Projective": "correlight.transforms",
    "Sequence": "correlight.transforms",
    "Transform": "correlight.transforms",
}

__all__ = ["Affine", "Displacement", "Frame", "Grid", "Image", "Projective", "Sequence", "Transform", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'correlight' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
