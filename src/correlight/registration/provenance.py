"""What a result remembers of the images it was made from and of the program that made it."""

from __future__ import annotations

import sys
from importlib.metadata import version
from platform import python_version
from typing import Any

from correlight.images.image import Image
from correlight.registration.result import ImageRecord

PARTS = ("scene", "series", "time", "view", "level")
"""What a reader notes in the source of an image when a part of the file was asked for."""
_PACKAGES = ("correlight", "numpy", "scipy", "opencv-python-headless", "onnxruntime", "tifffile")


def image_record(image: Image, channel: int | None) -> ImageRecord:
    """The record of an image and its channel used for registration; None for all colours."""
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
        part=part_of(image),
    )


def part_of(image: Image) -> dict[str, Any]:
    """Which part of its file an image is, by what was asked for."""
    return {name: image.source[name] for name in PARTS if name in image.source}


def peak_memory_mb() -> float:
    """Largest resident memory of the process so far, in MiB."""
    if sys.platform == "win32":
        return _peak_on_windows() / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _peak_on_windows() -> float:
    """Largest working set of the process in bytes, as Windows counts it (PROCESS_MEMORY_COUNTERS); 0 if it does not."""
    if sys.platform != "win32":
        return 0.0
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = [
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *((f"size_{number}", ctypes.c_size_t) for number in range(8)),  # the first is PeakWorkingSetSize
        ]

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    ask = kernel.K32GetProcessMemoryInfo
    ask.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    return float(counters.size_0) if ask(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb) else 0.0


def versions() -> dict[str, str]:
    """Versions of Python, of correlight and of what it stands on."""
    return {"python": python_version(), **{package: version(package) for package in _PACKAGES}}
