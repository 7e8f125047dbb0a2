"""Large lists of numbers in HDF5 and Zarr, read by a process of its own that has limits (see `bounded_process`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.exchange import bounded_process

LIMIT = 2**30  # bytes of numbers; with the copies that become a transform, about four times as much memory
_SECONDS = 20  # of a processor, for a file of no size; two bytes that lead HDF5 round in circles cost this much
_PATIENCE = 5  # times as much by the clock, as other programs may have the processors
_PER_GIB = 60  # seconds more for each GiB of the file
_LONGEST_HEADER = 2**20


def read_arrays(
    path: str | Path, kind: Literal["hdf5", "zarr"], expected: str, size: int
) -> tuple[dict[str, Any], list[NDArray[np.float64]]]:
    """What a file or folder holds, read within limits of time and memory.

    Parameters
    ----------
    path : str or Path
        An HDF5 file of ITK, or a Zarr array.
    kind : {"hdf5", "zarr"}
        Which of them.
    expected : str
        What should be in it, with its article, for the message of an error.
    size : int
        Bytes that it has, of which the time depends.

    Returns
    -------
    dict
        ``names`` of the transforms in a file of ITK.
    list of array
        float64; of ITK parameters and fixed parameters in turn.

    Raises
    ------
    ReadError
        If it is damaged, refers to other files, declares more than `LIMIT`, or takes too long.
    """
    seconds = int(_SECONDS + _PER_GIB * min(size, 2 * LIMIT) / 2**30)
    command = [sys.executable, "-P", bounded_process.__file__, kind, os.fspath(Path(path).absolute()), str(LIMIT)]
    # Every thread of a library reserves addresses, and no filter of HDF5 is loaded from a folder of plug-ins.
    quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PATH": os.devnull}
    with subprocess.Popen(
        [*command, str(seconds)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **quiet},
    ) as child:
        assert child.stdout is not None
        clock = _Clock(child, _PATIENCE * seconds)
        try:
            with clock:
                header, arrays = _received(child.stdout)
        except (ValueError, KeyError, TypeError, EOFError) as error:
            slow = clock.rang or _spent(child)
            reason = f"it could not be read within {seconds} s" if slow else "it is truncated or damaged"
            raise ReadError(f"Expected {expected}, but of {path} {reason}; copy or export it again.") from error
        finally:
            child.kill()
    for word in ("refused", "damaged"):
        if word in header:
            reason = header[word] if word == "refused" else f"it is truncated or damaged: {header[word]}"
            raise ReadError(f"Expected {expected}, but {path} cannot be used: {reason}; copy or export it again.")
    return header, arrays


def _spent(child: subprocess.Popen[bytes]) -> bool:
    """Whether a process was ended for the processor time that it took."""
    with suppress(subprocess.TimeoutExpired):
        return child.wait(1) == -getattr(signal, "SIGXCPU", 0)
    return False


class _Clock:
    """Ends a process that takes too long, so that reading from it ends as well."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        import threading

        self.rang = False
        self._child = child
        self._timer = threading.Timer(seconds, self._ring)

    def _ring(self) -> None:
        self.rang = True
        self._child.kill()

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _received(stream: IO[bytes]) -> tuple[dict[str, Any], list[NDArray[np.float64]]]:
    """The header and the arrays; raises EOFError or ValueError where the process ended before them."""
    header = json.loads(stream.readline(_LONGEST_HEADER))
    arrays = []
    for shape in header.get("shapes", []):
        array = np.empty(shape)
        view = memoryview(array.data).cast("B") if array.size else memoryview(b"")
        filled = 0
        while filled < len(view):
            count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            filled += count
        arrays.append(array)
    return header, arrays
