"""correlight: one trusted overlay from two microscopes.

The public names are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from correlight.appearance.features import features
    from correlight.errors import CorrelightError, ReadError, TransformError, UsageError, WriteError
    from correlight.exchange import read_transform, write_transform
    from correlight.from_landmarks import from_landmarks
    from correlight.geometry import Frame, Grid
    from correlight.image import Image
    from correlight.io import read
    from correlight.pair import prepare_pair
    from correlight.register import register
    from correlight.resample import warp
    from correlight.result import Result
    from correlight.transforms import Affine, Displacement, Projective, Sequence, ThinPlate, Transform

_HOMES = {
    "Affine": "correlight.transforms",
    "CorrelightError": "correlight.errors",
    "Displacement": "correlight.transforms",
    "Frame": "correlight.geometry",
    "Grid": "correlight.geometry",
    "Image": "correlight.image",
    "Projective": "correlight.transforms",
    "ReadError": "correlight.errors",
    "Result": "correlight.result",
    "Sequence": "correlight.transforms",
    "ThinPlate": "correlight.transforms",
    "Transform": "correlight.transforms",
    "TransformError": "correlight.errors",
    "UsageError": "correlight.errors",
    "WriteError": "correlight.errors",
    "from_landmarks": "correlight.from_landmarks",
    "features": "correlight.appearance.features",
    "prepare_pair": "correlight.pair",
    "read": "correlight.io",
    "read_transform": "correlight.exchange",
    "register": "correlight.register",
    "warp": "correlight.resample",
    "write_transform": "correlight.exchange",
}

__all__ = [
    "Affine",
    "CorrelightError",
    "Displacement",
    "Frame",
    "Grid",
    "Image",
    "Projective",
    "ReadError",
    "Result",
    "Sequence",
    "ThinPlate",
    "Transform",
    "TransformError",
    "UsageError",
    "WriteError",
    "__version__",
    "features",
    "from_landmarks",
    "prepare_pair",
    "read",
    "read_transform",
    "register",
    "warp",
    "write_transform",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'correlight' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps ``correlight.register`` the function: loading the module of that name would put itself in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
