"""Networks in ONNX files, opened alike wherever one is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def session(path: Path, threads: int) -> Any:
    """What runs a network: on a graphics card of CUDA if onnxruntime knows one, else on the processor.

    Parameters
    ----------
    path : Path
        An ONNX file.
    threads : int
        Threads for one image.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    Exception
        Whatever onnxruntime raises of a file that is none; it has no tree of exceptions of its own.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    offered = onnxruntime.get_available_providers()
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in offered]
    return onnxruntime.InferenceSession(str(path), options, providers=wanted)
