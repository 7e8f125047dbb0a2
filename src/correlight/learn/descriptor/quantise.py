"""The trained network in numbers of eight bits and with fewer planes, with which the search tries its many turns."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from correlight.appearance.descriptor import PLANES, load
from correlight.learn.descriptor.scenes import Scene
from correlight.learn.descriptor.task import batch

# Batches of training images whose activations set the steps, of which rare ones are clipped.
_LOOKED_AT = 12
_KEPT_PERCENTILE = 99.99
# Directions of the features that are kept: of sixteen, which training fills unevenly, six hold 99 % of the energy.
_DIRECTIONS = 6


def quantise(exact: Path, target: Path, scenes: Sequence[Scene], seed: int) -> Path:
    """Write the network of an ONNX file with weights and activations of eight bits, and its principal planes only.

    The first layer, whose input has no bounds, and the head stay as they are. Weights use seven of the eight bits, so
    that sums of products cannot overflow on any processor. Planes are turned into the principal directions of the
    features of training images, which changes no correlation, and all but the first few of those are dropped.

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
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
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
    _append(model, _principal(exact, scenes, seed))
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in onnx.load(exact).metadata_props})
    onnx.save(model, part)
    part.rename(target)
    return target


def _principal(exact: Path, scenes: Sequence[Scene], seed: int) -> NDArray[np.float32]:
    """Orthonormal directions that hold most of the energy of features, shape (directions, planes)."""
    network = load(exact)
    total = 0.0
    for image in _views(scenes, seed):
        planes = network.session.run(["features"], {"image": image})[0].reshape(PLANES, -1)
        centred = planes - planes.mean(axis=1, keepdims=True)
        # Every image counts alike, as `group` gives all features unit energy.
        total = total + centred @ centred.T / float(np.sum(centred**2))
    _, directions = np.linalg.eigh(total)
    return np.ascontiguousarray(directions[:, ::-1][:, :_DIRECTIONS].T, np.float32)


def _append(model: onnx.ModelProto, directions: NDArray[np.float32]) -> None:
    """Make the output "features" that of a last layer which projects onto the directions."""
    for node in model.graph.node:
        for number, name in enumerate(node.output):
            if name == "features":
                node.output[number] = "all_features"
    weight = onnx.numpy_helper.from_array(directions[:, :, None, None], "directions")
    model.graph.initializer.append(weight)
    model.graph.node.append(onnx.helper.make_node("Conv", ["all_features", "directions"], ["features"]))
    output = next(output for output in model.graph.output if output.name == "features")
    output.type.tensor_type.shape.dim[1].dim_value = len(directions)


def _views(scenes: Sequence[Scene], seed: int) -> Iterator[NDArray[np.float32]]:
    """Views of training scenes, one by one: with few scenes, batches differ in size."""
    return (image[None] for step in range(_LOOKED_AT) for image in batch(scenes, 8, seed + 3, step).searched)


class _Views(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, scenes: Sequence[Scene], seed: int) -> None:
        self._left = _views(scenes, seed)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next view."""
        image = next(self._left, None)
        return None if image is None else {"image": image}
