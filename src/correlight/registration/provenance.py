"""What a result remembers of the images it was made from and of the program that made it."""

from __future__ import annotations

import sys
from importlib.metadata import version
from platform import python_version

import psutil

from correlight.images.image import Image
from correlight.registration.result import ImageRecord

PARTS = ("scene", "series", "time", "view", "level")
"""What a reader notes in the source of an image when a part of the file was asked for."""
_PACKAGES = ("correlight", "numpy", "scipy", "opencv-python-headless", "onnxruntime", "tifffile")


def image_record(image: Image, channel: int | None) -> ImageRecord:
    """The record of an image of which a channel voted; None for all colours of a picture."""
    return ImageRecord(
        path=image.source.get("path"),
        sha256=image.source.get("sha256"),
        shape=image.grid.shape,
        spacing=image.grid.spacing,
        unit=image.grid.unit,
        spacing_source=image.source.get(
            "spacing_source", "given with the array" if image.grid.calibrated else "not stated"
        ),
        channel=image.channel_name(channel),
        channels=image.channels,
        findings=image.findings,
        part={name: image.source[name] for name in PARTS if name in image.source},
    )


def peak_memory_mb() -> float:
    """Largest resident memory of the process so far, in MiB."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def versions() -> dict[str, str]:
    """Versions of Python, of correlight and of what it stands on."""
    return {"python": python_version(), **{package: version(package) for package in _PACKAGES}}
