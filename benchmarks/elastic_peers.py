"""One elastic registration by another program, in a process with a Python that has its package; knows no truth.

It is given two images on one grid, or else landmarks of both and the size of that grid.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def elastix(fixed: Array, moving: Array, shown: Array) -> Array:
    """The default B-spline stage of elastix: mutual information and bending, four resolutions, grid of 10 pixels."""
    return _by_elastix(fixed, moving, shown, {})


def elastix_mi(fixed: Array, moving: Array, shown: Array) -> Array:
    """Mutual information alone over six resolutions, down to a grid of 32 pixels."""
    itk: Any = import_module("itk")
    return _by_elastix(
        fixed,
        moving,
        shown,
        dict(itk.ParameterObject.New().GetDefaultParameterMap("bspline", 6, 32.0))
        | {
            "Registration": ["MultiResolutionRegistration"],
            "Metric": ["AdvancedMattesMutualInformation"],
            "MaximumNumberOfIterations": ["500"],
        },
    )


def _by_elastix(fixed: Array, moving: Array, shown: Array, changed: dict[str, Any]) -> Array:
    itk: Any = import_module("itk")
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    parameters = itk.ParameterObject.New()
    asked = parameters.GetDefaultParameterMap("bspline")
    for name, value in changed.items():
        asked[name] = value
    parameters.AddParameterMap(asked)
    images = [itk.image_from_array(one.astype(np.float32)) for one in (fixed, moving)]
    mask = itk.image_from_array(shown)
    _, found = itk.elastix_registration_method(*images, parameter_object=parameters, fixed_mask=mask)
    # It writes the field into the folder that it runs in.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        field = itk.transformix_deformation_field(images[1], found)
    return np.asarray(itk.array_from_image(field))[..., ::-1]


def ants(fixed: Array, moving: Array, shown: Array) -> Array:
    """SyN with its defaults (mutual information); the inverse of the forward warp is what leads fixed places."""
    package: Any = import_module("ants")
    images = [package.from_numpy(one.T.astype(np.float32)) for one in (fixed, moving)]
    mask = package.from_numpy(shown.T.astype(np.float32))
    found = package.registration(*images, type_of_transform="SyNOnly", mask=mask, initial_transform="Identity")
    field = package.image_read(found["fwdtransforms"][0]).numpy()
    return np.asarray(np.transpose(field, (*range(fixed.ndim)[::-1], fixed.ndim))[..., ::-1])


def simpleitk(fixed: Array, moving: Array, shown: Array) -> Array:
    """A B-spline of eight cells with Mattes mutual information, two levels and descent with line search."""
    sitk: Any = import_module("SimpleITK")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    one, other = (sitk.GetImageFromArray(image.astype(np.float32)) for image in (fixed, moving))
    start = sitk.BSplineTransformInitializer(one, [8] * fixed.ndim)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricFixedMask(sitk.GetImageFromArray(shown))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescentLineSearch(5.0, 100, convergenceMinimumValue=1e-4, convergenceWindowSize=5)
    method.SetInitialTransformAsBSpline(start, inPlace=True, scaleFactors=[1, 2])
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2, 1])
    found = method.Execute(one, other)
    filtered = sitk.TransformToDisplacementFieldFilter()
    filtered.SetReferenceImage(one)
    return np.asarray(sitk.GetArrayFromImage(filtered.Execute(found)))[..., ::-1]


def elastix_points(fixed: Array, moving: Array, shape: list[int]) -> Array:
    """The default B-spline stage driven by the distance of landmarks alone; the images it must have are empty."""
    itk: Any = import_module("itk")
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    parameters = itk.ParameterObject.New()
    asked = parameters.GetDefaultParameterMap("bspline")
    asked["Metric"] = [
        "AdvancedMeanSquares",
        "CorrespondingPointsEuclideanDistanceMetric",
        "TransformBendingEnergyPenalty",
    ]
    for number, weight in enumerate(("0.0", "1.0", "1.0")):
        asked[f"Metric{number}Weight"] = [weight]
    parameters.AddParameterMap(asked)
    empty = itk.image_from_array(np.zeros(shape, np.float32))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, points in (("fixed.txt", fixed), ("moving.txt", moving)):
            np.savetxt(name, points[:, ::-1], header=f"point\n{len(points)}", comments="")
        method = itk.ElastixRegistrationMethod.New(empty, empty)
        method.SetParameterObject(parameters)
        method.SetFixedPointSetFileName("fixed.txt")
        method.SetMovingPointSetFileName("moving.txt")
        method.UpdateLargestPossibleRegion()
        field = itk.transformix_deformation_field(empty, method.GetTransformParameterObject())
    return np.asarray(itk.array_from_image(field))[..., ::-1]


def ants_points(fixed: Array, moving: Array, shape: list[int]) -> Array:
    """The B-spline fit to paired points, as large at the rim as it likes."""
    package: Any = import_module("ants")
    domain = package.from_numpy(np.zeros(shape[::-1], np.float32))
    found = package.fit_transform_to_paired_points(
        moving[:, ::-1],
        fixed[:, ::-1],
        transform_type="bspline",
        domain_image=domain,
        enforce_stationary_boundary=False,
    )
    field = package.transform_to_displacement_field(found, domain).numpy()
    return np.asarray(np.transpose(field, (*range(len(shape))[::-1], len(shape)))[..., ::-1])


def simpleitk_points(fixed: Array, moving: Array, shape: list[int]) -> Array:
    """The initial B-spline of eight control points along each axis that landmarks determine."""
    sitk: Any = import_module("SimpleITK")
    empty = sitk.Image(*shape[::-1], sitk.sitkFloat32)
    flat = [points[:, ::-1].ravel().tolist() for points in (fixed, moving)]
    found = sitk.LandmarkBasedTransformInitializer(sitk.BSplineTransform(len(shape)), *flat, [], empty, 8)
    filtered = sitk.TransformToDisplacementFieldFilter()
    filtered.SetReferenceImage(empty)
    return np.asarray(sitk.GetArrayFromImage(filtered.Execute(found)))[..., ::-1]


METHODS = {"elastix": elastix, "elastix-mi": elastix_mi, "ants": ants, "simpleitk": simpleitk}
FROM_POINTS = {"elastix": elastix_points, "ants": ants_points, "simpleitk": simpleitk_points}


def main() -> int:
    """Read what is given, register, and write where the places are led."""
    name, given, out = sys.argv[1], *(os.path.abspath(path) for path in sys.argv[2:4])
    with np.load(given) as stored:
        fixed, moving, shown, places = (stored[key] for key in ("fixed", "moving", "shown", "places"))
    began, computed = time.perf_counter(), time.process_time()
    # Landmarks are rows of coordinates for a grid that has all of its pixels.
    points = fixed.shape != shown.shape
    field = FROM_POINTS[name](fixed, moving, list(shown.shape)) if points else METHODS[name](fixed, moving, shown)
    seconds, spent = time.perf_counter() - began, time.process_time() - computed
    ndim = shown.ndim
    low = np.clip(np.floor(places).astype(int), 0, np.asarray(shown.shape) - 2)
    part = np.clip(places - low, 0, 1)
    led = places.copy()
    for corner in product((0, 1), repeat=ndim):
        weight = np.prod(np.abs(1 - np.asarray(corner) - part), axis=1)
        led += weight[:, None] * field[tuple((low + corner).T)]
    slopes = np.stack([np.stack(np.gradient(field[..., axis]), axis=-1) for axis in range(ndim)], axis=-2)
    volumes = np.linalg.det(slopes + np.eye(ndim))[shown > 0]
    np.savez(out, led=led, least_volume=volumes.min(), seconds=seconds, processor_seconds=spent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
