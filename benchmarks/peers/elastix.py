"""elastix by itk-elastix: its default parameter maps "rigid" and "affine", one after the other.

Both maps compare by Mattes mutual information on four resolutions and descend with adaptive steps. One parameter is
given on top, ``AutomaticTransformInitialization``, so that elastix lays the centres of the frames on each other.

Klein et al. 2010, doi:10.1109/TMI.2009.2035616.
"""

from __future__ import annotations

import re
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.attempt import Attempt, Task, from_itk, in_pixels

PACKAGE = "itk-elastix"
itk: Any = import_module("itk")
# Loaded with the package: ITK loads its parts on first use, which is no part of the registration.
METHOD = itk.elastix_registration_method


def register(task: Task) -> Attempt:
    """The default rigid stage, then the default affine one."""
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    fixed, moving = (itk.image_from_array(pixels) for pixels in (task.fixed, task.moving))
    mask = itk.image_from_array(task.moving_mask.astype(np.uint8))
    for image in (moving, mask):
        image.SetSpacing((task.spacing, task.spacing))
    parameters = itk.ParameterObject.New()
    for name in ("rigid", "affine"):
        stage = parameters.GetDefaultParameterMap(name)
        # Only the first stage heeds it; the second goes on from the first.
        stage["AutomaticTransformInitialization"] = ["true"]
        parameters.AddParameterMap(stage)
    with tempfile.TemporaryDirectory() as folder:
        _, found = METHOD(
            fixed,
            moving,
            parameter_object=parameters,
            moving_mask=mask,
            output_directory=folder,
            log_to_file=True,
            log_file_name="elastix.log",
            log_to_console=False,
            number_of_threads=1,
        )
        merit = -_last_measure((Path(folder) / "elastix.log").read_text())
    whole = np.eye(3)
    for number in range(found.GetNumberOfParameterMaps()):
        whole = _stage(found.GetParameterMap(number)) @ whole
    return Attempt(in_pixels(whole[:2, :2], whole[:2, 2], task.spacing), merit)


def _stage(stage: Any) -> NDArray[np.float64]:
    """The map of one stage between positions in (y, x); elastix applies the stages in their order."""
    values = [float(value) for value in stage["TransformParameters"]]
    centre = [float(value) for value in stage["CenterOfRotationPoint"]]
    if stage["Transform"][0] == "EulerTransform":
        turn, *translation = values
        linear = [np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)]
    else:
        linear, translation = values[:4], values[4:]
    whole = np.eye(3)
    whole[:2, :2], whole[:2, 2] = from_itk(linear, translation, centre)
    return whole


def _last_measure(log: str) -> float:
    """The final value of the measure that the last resolution of the last stage reports."""
    return float(re.findall(r"Final metric value\s*=\s*(\S+)", log)[-1])
