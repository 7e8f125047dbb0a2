"""Elastix for `benchmarks.volumes`, run by an interpreter that has itk-elastix."""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

itk: Any = import_module("itk")


def main(folder: Path) -> None:
    """Rigid, then affine, with elastix' own parameter maps, from centre on centre."""
    data = np.load(folder / "pair.npz")
    images = []
    for name, spacing, origin in zip(("fixed", "moving"), data["spacings"], data["origins"], strict=True):
        image = itk.image_from_array(np.ascontiguousarray(data[name], np.float32))
        image.SetSpacing(spacing[::-1].tolist())
        image.SetOrigin(origin[::-1].tolist())
        images.append(image)
    # The start is put into the origin of the moving image, as elastix would read it from a file.
    start = data["start"]
    images[1].SetOrigin((data["origins"][1] - start)[::-1].tolist())
    parameters = itk.ParameterObject.New()
    for kind in ("rigid", "affine"):
        chosen = parameters.GetDefaultParameterMap(kind, 3)
        chosen["AutomaticTransformInitialization"] = ["false"]
        parameters.AddParameterMap(chosen)
    began = time.process_time()
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    _, found = itk.elastix_registration_method(*images, parameter_object=parameters, log_to_console=False)
    spent = time.process_time() - began
    points = folder / "points.txt"
    places = data["places"][:, ::-1]
    listed = [" ".join(f"{value:.9f}" for value in place) for place in places]
    points.write_text("\n".join(["point", str(len(places)), *listed]) + "\n")
    itk.transformix_pointset(images[1], found, fixed_point_set_file_name=str(points), output_directory=str(folder))
    lines = (folder / "outputpoints.txt").read_text().splitlines()
    mapped = [[float(v) for v in line.partition("OutputPoint = [")[2].partition("]")[0].split()] for line in lines]
    np.save(folder / "mapped.npy", np.array(mapped)[:, ::-1] + start)
    print(spent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
