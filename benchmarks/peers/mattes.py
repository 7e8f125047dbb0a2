"""Mattes mutual information by SimpleITK, with the settings of its registration introduction.

The introduction notebook of SimpleITK starts with the centres of the two frames on each other and runs gradient descent
(learning rate 1, 100 iterations, convergence within 1e-6 over 10) for a rigid transform on a pyramid of 4, 2 and 1,
with 50 bins. Two things are given on top: 10 % of the pixels are looked at instead of 1 %, because a plane has far
fewer than the volume of the notebook (SimpleITK's own 2-D example with this measure takes 10 % as well), and an affine
stage with the same settings follows the rigid one.

Mattes et al. 2003, doi:10.1109/TMI.2003.809072.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.peers.attempt import Attempt, Task, from_itk, in_pixels

PACKAGE = "SimpleITK"
sitk: Any = import_module("SimpleITK")


def register(task: Task) -> Attempt:
    """A rigid stage from aligned centres, then an affine one."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    fixed, moving = sitk.GetImageFromArray(task.fixed), sitk.GetImageFromArray(task.moving)
    mask = sitk.GetImageFromArray(task.moving_mask.astype(np.uint8))
    for image in (moving, mask):
        image.SetSpacing((task.spacing, task.spacing))
    centred = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler2DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    rigid, _ = _stage(fixed, moving, mask, sitk.Euler2DTransform(centred), task.seed)
    affine = sitk.AffineTransform(2)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    affine, value = _stage(fixed, moving, mask, affine, task.seed)
    linear, offset = from_itk(affine.GetMatrix(), affine.GetTranslation(), affine.GetCenter())
    return Attempt(in_pixels(linear, offset, task.spacing), -value)


def _stage(fixed: Any, moving: Any, mask: Any, start: Any, seed: int) -> tuple[Any, float]:
    """One stage; the start is moved to where the measure is best, and the measure there is returned."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    # A seed of 0 means the clock.
    method.SetMetricSamplingPercentage(0.1, seed + 1)
    method.SetMetricMovingMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(
        learningRate=1.0, numberOfIterations=100, convergenceMinimumValue=1e-6, convergenceWindowSize=10
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    return start, float(method.GetMetricValue())
