"""The trained network in numbers of eight bits, with which the search runs through its many turns."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from correlight.learn.descriptor.scenes import Scene
from correlight.learn.descriptor.task import batch

# Batches of training images whose activations set the steps, of which rare ones are clipped.
_LOOKED_AT = 12
_KEPT_PERCENTILE = 99.99


def quantise(exact: Path, target: Path, scenes: Sequence[Scene], seed: int) -> Path:
    """Write the network of an ONNX file with weights and activations of eight bits.

    The first layer, whose input has no bounds, and the head stay as they are. Weights use seven of the eight bits, so
    that sums of products cannot overflow on any processor.

    Parameters
    ----------
    exact : Path
        What `correlight.learn.descriptor.export` wrote; its metadata go along.
    target : Path
        Where to.
    scenes : sequence of Scene
        Whose views set the steps.
    seed : int
        Of those views.
    """
    part, plain = target.with_suffix(".part"), target.with_suffix(".plain")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quant_pre_process(str(exact), str(plain), skip_symbolic_shape=True)
        nodes = onnx.load(plain).graph.node
        convolutions = [node.name for node in nodes if node.op_type == "Conv"]
        last_sum = [node.name for node in nodes if node.op_type == "Add"][-1]
        # It recommends on the root logger what was done the line before.
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                str(plain),
                str(part),
                _Views(scenes, seed),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Add", "Relu"],
                nodes_to_exclude=[convolutions[0], convolutions[-1], last_sum],
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"CalibPercentile": _KEPT_PERCENTILE},
            )
        finally:
            logging.disable(logging.NOTSET)
    plain.unlink()
    model = onnx.load(part)
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in onnx.load(exact).metadata_props})
    onnx.save(model, part)
    part.rename(target)
    return target


class _Views(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, scenes: Sequence[Scene], seed: int) -> None:
        self._left = self._images(scenes, seed)

    @staticmethod
    def _images(scenes: Sequence[Scene], seed: int) -> Iterator[NDArray[np.float32]]:
        for step in range(_LOOKED_AT):
            yield batch(scenes, 8, seed + 3, step).searched

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch of views."""
        images = next(self._left, None)
        return None if images is None else {"image": images}
