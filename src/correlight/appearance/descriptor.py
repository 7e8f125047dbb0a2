"""The learned descriptor: features of an image that another instrument's image of the same place shares.

A small convolutional network, trained by `correlight.learn.descriptor` on images rendered twice by random
instruments, such that plain correlation of the features of two images peaks where they show the same. It ships as
an ONNX file and runs through onnxruntime. What looks at many turned images takes a second file of the same network: in
numbers of eight bits, with the planes that hold nearly all of the energy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.appearance.channels import Group, group
from correlight.appearance.onnx import session
from correlight.errors import ReadError
from correlight.images.image import Float32, Mask

# Feature planes, and pixels of the image per pixel of a plane.
PLANES, STRIDE = 16, 4
# Features this many pixels of a plane from the edge of the mask have seen too much of what is not image.
_RIM = 1


@dataclass(frozen=True, eq=False)
class Descriptor:
    """The network with the statistics of what it was trained on.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The network.
    mean, whitening : arrays of shape (64,) and (64, 64)
        Of the summaries of training images.
    typical : float
        Distance from the mean that 95 % of the training images keep.
    """

    session: Any
    mean: NDArray[np.float64]
    whitening: NDArray[np.float64]
    typical: float

    def planes(self, values: Float32, mask: Mask) -> tuple[Float32, Mask]:
        """Feature planes of an image and where they say something.

        Parameters
        ----------
        values : (Y, X) array of float32
            Grey values at working resolution.
        mask : (Y, X) array of bool
            Valid pixels.

        Returns
        -------
        planes : (C, ceil(Y / 4), ceil(X / 4)) array of float32
            Sixteen, or the six of the quick network. Pixel ``(i, j)`` stands for pixel ``(4 i, 4 j)`` of the image.
        support : array of bool
        """
        features, _ = self.run(values, mask)
        return features, _support(mask)

    def run(self, values: Float32, mask: Mask) -> tuple[Float32, Float32]:
        """Features and hidden layer, shapes ``(C, y, x)`` and ``(64, y, x)``."""
        rows, columns = (-n % STRIDE for n in values.shape)
        image = np.pad(prepared(values, mask), ((0, 0), (0, rows), (0, columns)))
        features, hidden = self.session.run(["features", "hidden"], {"image": image[None]})
        return features[0], hidden[0]

    def unusualness(self, values: Float32, mask: Mask) -> float:
        """How unlike the training images an image is: up to 1 for 95 % of those, more for what is new.

        The Mahalanobis distance of the image's summary, in units of the distance that 95 % of the training images
        keep (after Lee et al. 2018, doi:10.48550/arXiv.1807.03888).

        Parameters
        ----------
        values : (Y, X) array of float32
            Grey values at working resolution.
        mask : (Y, X) array of bool
            Valid pixels.
        """
        _, hidden = self.run(values, mask)
        away = (summary(hidden, mask) - self.mean) @ self.whitening.T
        return float(np.sqrt(np.mean(away**2)) / self.typical)


@cache
def shipped(*, quick: bool = False) -> Descriptor:
    """The descriptor that comes with the package; the quick one has eight bits and the six principal planes."""
    name = "descriptor-quick.onnx" if quick else "descriptor.onnx"
    with resources.as_file(resources.files("correlight.appearance") / name) as path:
        return load(path)


def load(path: Path, threads: int = 1) -> Descriptor:
    """Read a descriptor.

    Parameters
    ----------
    path : Path
        An ONNX file that `correlight.learn.descriptor` wrote.
    threads : int
        Threads for one image. The search runs several images at a time, so one is enough there.

    Raises
    ------
    ReadError
        If the file is missing or is no such network.
    """
    try:
        opened = session(path, threads)
        facts = json.loads(opened.get_modelmeta().custom_metadata_map["correlight"])
    except Exception as error:  # onnxruntime has no tree of exceptions of its own
        raise ReadError(f"{path} was expected to be a descriptor of correlight; reading it failed: {error}") from error
    return Descriptor(opened, np.array(facts["mean"]), np.array(facts["whitening"]), float(facts["typical"]))


def learned(values: Float32, mask: Mask) -> tuple[Group, ...]:
    """The principal planes of the shipped descriptor as one group of channels, by the quick network.

    Parameters
    ----------
    values : (Y, X) array of float32
        Grey values at working resolution.
    mask : (Y, X) array of bool
        Valid pixels.
    """
    planes, support = shipped(quick=True).planes(values, mask)
    return (group(planes, support, STRIDE),)


def unusualness(values: Float32, mask: Mask) -> float:
    """How unlike the training images of the shipped descriptor an image is; see `Descriptor.unusualness`."""
    return shipped().unusualness(values, mask)


def prepared(values: Float32, mask: Mask) -> Float32:
    """An image as the network takes it: ``(2, Y, X)``, grey values of mean 0 and deviation 1, and the mask.

    Parameters
    ----------
    values : (Y, X) array of float32
        Grey values.
    mask : (Y, X) array of bool
        Valid pixels; the others become 0.
    """
    valid = values[mask]
    mean, width = (float(valid.mean()), float(valid.std())) if valid.size else (0.0, 1.0)
    weight = mask.astype(np.float32)
    return np.stack([(values - np.float32(mean)) / np.float32(max(width, 1e-6)) * weight, weight])


def summary(hidden: Float32, mask: Float32 | Mask) -> Float32:
    """One vector that characterises an image: the mean of each hidden channel over the valid pixels.

    Parameters
    ----------
    hidden : (64, y, x) array of float32
        The last hidden layer.
    mask : (Y, X) array of float32 or bool
        Valid pixels, 4 times finer.
    """
    weight = mask[::STRIDE, ::STRIDE]
    return np.asarray((hidden * weight).sum(axis=(1, 2)) / max(float(weight.sum()), 1.0))


def _support(mask: Mask) -> Mask:
    side = 2 * STRIDE * _RIM + 1
    # What lies beyond the image counts as valid here: the network was trained on images with edges.
    inner = cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8), borderValue=1)
    return np.asarray(inner[::STRIDE, ::STRIDE] > 0)
