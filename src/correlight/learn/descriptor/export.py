"""The trained network as an ONNX file, with what is needed to say how usual an image is."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from correlight.appearance.descriptor import STRIDE, summary
from correlight.learn.descriptor.network import Descriptor
from correlight.learn.descriptor.scenes import Scene
from correlight.learn.descriptor.task import batch

# Batches of training images that say what is usual.
_LOOKED_AT = 60
_OPSET = 17


def export(network: Descriptor, path: Path, scenes: Sequence[Scene], seed: int, settings: dict[str, Any]) -> Path:
    """Write an ONNX file: the network, and in its metadata the statistics of what it was trained on.

    Parameters
    ----------
    network : Descriptor
        Trained.
    path : Path
        Where to.
    scenes : sequence of Scene
        What it was trained on.
    seed : int
        Of the run; the statistics come from batches that it did not use.
    settings : dict
        Stored along; of the places of images only the last two names.
    """
    settings = {**settings, "pictures": ["/".join(Path(place).parts[-2:]) for place in settings.get("pictures", ())]}
    network = network.to("cpu").eval()
    shape = (1, 2, 16 * STRIDE, 16 * STRIDE)
    sizes = {0: "count", 2: "height", 3: "width"}
    part = path.with_suffix(".part")
    with warnings.catch_warnings():
        # The exporter that needs no further package warns that it is the older one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(shape),),
            str(part),
            input_names=["image"],
            output_names=["features", "hidden"],
            dynamic_axes=dict.fromkeys(("image", "features", "hidden"), sizes),
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load(part)
    mean, whitening, typical = usual(network, scenes, seed)
    facts = {"mean": mean.tolist(), "whitening": whitening.tolist(), "typical": typical, "settings": settings}
    onnx.helper.set_model_props(model, {"correlight": json.dumps(facts)})
    onnx.save(model, part)
    part.rename(path)
    return path


@torch.no_grad()
def usual(
    network: Descriptor, scenes: Sequence[Scene], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Mean and whitening matrix of the summaries of training images, and the distance that 95 % of them keep."""
    rows = []
    for step in range(_LOOKED_AT):
        made = batch(scenes, 8, seed + 2, step)
        for images in (made.searched, made.views[0]):
            hidden = network(torch.as_tensor(images))[1].numpy()
            rows += [summary(one, image[1]) for one, image in zip(hidden, images, strict=True)]
    table: NDArray[np.float64] = np.stack(rows).astype(np.float64)
    mean = table.mean(axis=0)
    covariance = np.cov(table.T)
    covariance += 0.01 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    whitening = np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)), np.float64)
    distances = np.sqrt(np.mean(((table - mean) @ whitening.T) ** 2, axis=1))
    return np.round(mean, 6), np.round(whitening, 6), round(float(np.quantile(distances, 0.95)), 6)


def restored(path: Path, wide: bool | None = None) -> Descriptor:
    """The network that an ONNX file of `export` holds.

    Parameters
    ----------
    path : Path
        The exact one, not the quick one.
    wide : bool, optional
        Made wide, it does the same as before until it is trained; made narrow, it does without what was added. As it is
        in the file without.
    """
    stored = {one.name: torch.as_tensor(numpy_helper.to_array(one).copy()) for one in onnx.load(path).graph.initializer}
    added = [name for name in stored if name.startswith("surroundings.")]
    network = Descriptor(bool(added) if wide is None else wide)
    own = network.state_dict()
    if not added:
        stored |= {name: weights for name, weights in own.items() if name.startswith("surroundings.")}
    network.load_state_dict({name: stored[name] for name in own})
    return network
