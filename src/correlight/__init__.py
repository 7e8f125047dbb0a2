"""correlight: registration of images of one specimen from different microscopes.

To start with::

    from correlight import read, register

    result = register(read("em.tif"), read("light.tif"))  # or arrays, with fixed_spacing= and moving_spacing= in um
    print(result)  # accepted, doubtful or refused, how exact, and why; bool(result) is whether it is accepted
    result.save("out")  # report.html, the registered image, the transform: what `correlight register` writes
    moved = result.warp(read("other_channel.tif"))  # another image from the place of light.tif, on the pixels of em.tif
    there = result.transform_points([[12.5, 40.0]])  # y, x in um of em.tif, as positions in light.tif

The first image is the fixed one, whose pixels stay; the second, the moving one, is laid onto it. ``help(register)``
lists what can be asked for, ``help(read)`` how a part of a file is chosen, ``help(type(result))`` what a result can do.
Landmarks set by hand go through `from_landmarks`, transforms of other programs through `read_transform` and
`write_transform`.

The public names are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from correlight.appearance.features import features
    from correlight.errors import CorrelightError, ReadError, TransformError, UsageError, WriteError
    from correlight.exchange import read_transform, write_transform
    from correlight.geometry import Frame, Grid
    from correlight.images.image import Image
    from correlight.images.resample import warp
    from correlight.io import read
    from correlight.notebook.entry import from_landmarks, register
    from correlight.output.pair import prepare_pair
    from correlight.registration.result import Result
    from correlight.transforms import (
        Affine,
        BSplineField,
        Chain,
        Displacement,
        Projective,
        ThinPlate,
        Transform,
        VelocityField,
    )

_HOMES = {
    "Affine": "correlight.transforms",
    "BSplineField": "correlight.transforms",
    "Chain": "correlight.transforms",
    "CorrelightError": "correlight.errors",
    "Displacement": "correlight.transforms",
    "Frame": "correlight.geometry",
    "Grid": "correlight.geometry",
    "Image": "correlight.images.image",
    "Projective": "correlight.transforms",
    "ReadError": "correlight.errors",
    "Result": "correlight.registration.result",
    "ThinPlate": "correlight.transforms",
    "Transform": "correlight.transforms",
    "TransformError": "correlight.errors",
    "UsageError": "correlight.errors",
    "VelocityField": "correlight.transforms",
    "WriteError": "correlight.errors",
    "from_landmarks": "correlight.notebook.entry",
    "features": "correlight.appearance.features",
    "prepare_pair": "correlight.output.pair",
    "read": "correlight.io",
    "read_transform": "correlight.exchange",
    "register": "correlight.notebook.entry",
    "warp": "correlight.images.resample",
    "write_transform": "correlight.exchange",
}

__all__ = [
    "Affine",
    "BSplineField",
    "Chain",
    "CorrelightError",
    "Displacement",
    "Frame",
    "Grid",
    "Image",
    "Projective",
    "ReadError",
    "Result",
    "ThinPlate",
    "Transform",
    "TransformError",
    "UsageError",
    "VelocityField",
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
