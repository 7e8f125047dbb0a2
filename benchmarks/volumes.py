"""Volumes: simulated pairs registered by correlight and, from the same starts, by SimpleITK and elastix.

``python -m benchmarks.volumes --protocol full --seeds 0..40`` registers pairs of a block-face and a confocal stack and
appends a line for each to ``benchmarks/results/volumes.jsonl``; lines that are there already are not made again.
``python -m benchmarks.volumes --table`` writes ``volumes.md`` from them.

Protocols: ``shift`` (the pose is known but for the shift in the plane and along z), ``full`` (any rotation about z,
mirror, direction of z, 15 % of scale, tilt within 1.5 degrees), ``tilt`` (the same with a tilt of up to 15 degrees on
fields that leave room for it), ``unrelated`` (stacks of two specimens).
``--protocol real --data FOLDER --seeds 0..5`` registers pairs of real stacks after known displacements
(`volumes_real`), without a start and from one that is off by a few voxels and 3 degrees, with a rigid map.
``--files FOLDER --seeds A..B`` times the command line instead, from two files to all output, as protocol ``files``.

Every method gets the same files' pixels and the same start: centre on centre with the claimed scale. SimpleITK and
elastix optimise mutual information on a pyramid over the working voxels that correlight chooses. Elastix runs under the
interpreter that ``--elastix`` names. Seconds are those of the processor, on one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks import volumes_real
from correlight.geometry import Points
from correlight.images.volume import Volume
from correlight.io.write import write_ome_tiff
from correlight.registration.provenance import peak_memory_mb
from correlight.registration.register import register
from correlight.simulate.volume_pair import Couple, VolumePair, volume_pair
from correlight.transforms import Affine

# Its functions state no types.
sitk: Any = import_module("SimpleITK")
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "volumes.jsonl"
ACROSS, ALONG = 0.7, 1.8
WORKING = 0.42
Row = dict[str, Any]
COUPLES: tuple[Couple, ...] = get_args(Couple)


def pair_of(protocol: str, seed: int, size: float) -> VolumePair:
    """The pair of one line."""
    if protocol == "shift":
        return volume_pair(seed=seed, size=size, rotation=0.0, mirror=False, flip=False, tilt=(0.0, 0.0), scale=1.0)
    if protocol == "unrelated":
        return volume_pair(seed=seed, size=size, specimens=(seed, seed + 1000))
    if protocol == "tilt":
        tilts = np.random.default_rng([seed, 97]).uniform(-15, 15, 2)
        return volume_pair(seed=seed, size=size, tilt=(float(tilts[0]), float(tilts[1])), least_overlap=0.35)
    return volume_pair(seed=seed, size=size)


def errors(pair: VolumePair, found: Affine, places: Points | None = None) -> tuple[float, float]:
    """Root mean square error across and along z, in fixed micrometres, where both stacks show something."""
    places = pair.common_places(2000, np.random.default_rng(5)) if places is None else places
    off = found.inverse()(pair.moving_from_fixed(places)) - places
    return float(np.sqrt(np.mean(np.sum(off[:, 1:] ** 2, axis=1)))), float(np.sqrt(np.mean(off[:, 0] ** 2)))


def by_correlight(pair: VolumePair, recipe: str, **options: Any) -> tuple[Affine, Row]:
    """One of our own recipes."""
    result = register(pair.fixed, pair.moving, recipe, workers=1, **options)
    assert isinstance(result.moving_from_fixed, Affine)
    margins = {one.name: round(one.value, 4) for one in result.verdict.evidence}
    return result.moving_from_fixed, {
        "status": result.status,
        "confidence": round(result.verdict.confidence, 4),
        "model": result.model,
        "predicted": round(result.predicted_error.median, 4),
        "evidence": margins,
    }


def centred(pair: VolumePair) -> Affine:
    """Centre on centre: the start of every method."""
    return Affine.of(np.eye(3), pair.moving.grid.centre - pair.fixed.grid.centre)


def working(pair: VolumePair) -> tuple[Volume, Volume]:
    """Both stacks on voxels of about 0.42 µm."""
    return Volume.of(pair.fixed, 0, WORKING), Volume.of(pair.moving, 0, WORKING)


def by_simpleitk(pair: VolumePair) -> tuple[Affine, Row]:
    """Mattes mutual information, rigid with scale, then affine, on three levels."""
    fixed, moving = (_sitk(volume) for volume in working(pair))
    start = centred(pair)
    transform = sitk.Similarity3DTransform()
    transform.SetCenter(pair.fixed.grid.centre[::-1].tolist())
    transform.SetTranslation(start.offset[::-1].tolist())
    for kind in ("similarity", "affine"):
        if kind == "affine":
            wide = sitk.AffineTransform(3)
            wide.SetCenter(pair.fixed.grid.centre[::-1].tolist())
            similar = sitk.Similarity3DTransform(transform)
            wide.SetMatrix(similar.GetMatrix())
            wide.SetTranslation(similar.GetTranslation())
            transform = wide
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.1, 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 150)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2, 1, 0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(fixed, moving)
        except RuntimeError as error:
            return start, {"status": f"failed: {str(error).splitlines()[-1][:80]}"}
    places = pair.fixed.grid.corners()
    mapped = np.array([transform.TransformPoint(place[::-1].tolist())[::-1] for place in places])
    return _fitted(places, mapped), {"status": "done"}


def by_elastix(pair: VolumePair, interpreter: str) -> tuple[Affine, Row]:
    """Elastix' own parameter maps for rigid and affine mutual information, in another interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        fixed, moving = working(pair)
        np.savez(
            Path(folder) / "pair.npz",
            fixed=fixed.values,
            moving=moving.values,
            spacings=[fixed.grid.spacing, moving.grid.spacing],
            origins=[fixed.grid.origin, moving.grid.origin],
            start=centred(pair).offset,
            places=pair.fixed.grid.corners(),
        )
        command = [interpreter, str(HERE / "volumes_elastix.py"), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return centred(pair), {"status": f"failed: {done.stderr.strip().splitlines()[-1][:80]}"}
        mapped = np.load(Path(folder) / "mapped.npy")
    return _fitted(pair.fixed.grid.corners(), mapped), {"status": "done", "own_seconds": float(done.stdout.split()[-1])}


def _sitk(volume: Volume) -> Any:
    image = sitk.GetImageFromArray(volume.values)
    image.SetSpacing(volume.grid.spacing[::-1])
    image.SetOrigin(volume.grid.origin[::-1])
    return image


def _fitted(places: NDArray[np.float64], mapped: NDArray[np.float64]) -> Affine:
    """The affine map that a list of places and where they went belong to."""
    solved = np.linalg.lstsq(np.column_stack([places, np.ones(len(places))]), mapped, rcond=None)[0]
    return Affine.of(solved[:3].T, solved[3])


def rows() -> list[Row]:
    """What was measured so far."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def run(protocol: str, seeds: range, size: float, methods: list[str], interpreter: str) -> Iterator[Row]:
    """Measure what is missing."""
    known = {(row["protocol"], row["seed"], row["size"], row["method"]) for row in rows()}
    ways: dict[str, Callable[[VolumePair], tuple[Affine, Row]]] = {
        "auto": lambda pair: by_correlight(pair, "auto"),
        "log-mi-3d": lambda pair: by_correlight(pair, "log-mi-3d"),
        "SimpleITK": by_simpleitk,
        "elastix": lambda pair: by_elastix(pair, interpreter),
    }
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for seed in seeds:
        missing = [name for name in methods if (protocol, seed, size, name) not in known]
        if not missing:
            continue
        pair = pair_of(protocol, seed, size)
        for name in missing:
            measured = timed(pair, partial(ways[name], pair))
            yield {"protocol": protocol, "seed": seed, "size": size, "method": name, **measured}


def timed(pair: VolumePair, way: Callable[[], tuple[Affine, Row]], places: Points | None = None) -> Row:
    """What one registration found, and what it took."""
    began, wall = time.process_time(), time.perf_counter()
    found, facts = way()
    spent = facts.pop("own_seconds", time.process_time() - began)
    across, along = errors(pair, found, places)
    return {
        "across": round(across, 4),
        "along": round(along, 4),
        "cpu_seconds": round(spent, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "peak_memory_mb": round(peak_memory_mb()),
        **facts,
    }


def run_real(seeds: range, data: Path) -> Iterator[Row]:
    """Measure what is missing on real stacks."""
    known = {(row["protocol"], row["seed"], row["method"]) for row in rows()}
    for name in volumes_real.NAMES:
        for seed in seeds:
            real = volumes_real.real_pair(name, seed, data)
            for method, start in (("auto", None), ("auto from a start", real.start())):
                if (name, seed, method) in known:
                    continue
                way = partial(by_correlight, real.stacks, "auto", start=start, model="rigid")
                measured = timed(real.stacks, way, real.places)
                yield {"protocol": name, "seed": seed, "size": 1.0, "method": method, "limits": real.limits, **measured}


def is_right(row: Row) -> bool:
    """Whether both errors of a line are within what counts as right there."""
    across, along = row.get("limits", (ACROSS, ALONG))
    return bool(row["across"] <= across and row["along"] <= along)


def files_to_output(folder: Path, seed: int, size: float, couple: Couple) -> Row:
    """The command line on two files of the protocol "full", output included, in a process of its own."""
    pair = volume_pair(couple, seed, size=size)
    names = []
    for name, image in (("fixed", pair.fixed), ("moving", pair.moving)):
        names.append(str(folder / f"{name}.ome.tif"))
        write_ome_tiff(names[-1], image.levels[0], image.grid, image.channels)
    out = folder / "out"
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    program = "import sys; from correlight.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "register", *names, "-o", str(out), "--overwrite"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    content = json.loads((out / "result.json").read_text()) if done.returncode in (0, 3) else {}
    across, along = errors(pair, Affine(np.array(content["moving_from_fixed"]["matrix"])))
    return {
        "protocol": "files" if couple == COUPLES[0] else f"files, {couple}",
        "seed": seed,
        "size": size,
        "method": "auto",
        "across": round(across, 4),
        "along": round(along, 4),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "peak_memory_mb": round(after.ru_maxrss / 1024),
        "status": content["status"],
        "confidence": round(content["confidence"], 4),
    }


def table() -> str:
    """The lines as a table: one row per protocol, size and method."""
    out = [
        "# Volumes",
        "",
        "`python -m benchmarks.volumes --protocol P --size S --seeds A..B --methods M` made the lines of",
        "`volumes.jsonl`, `python -m benchmarks.volumes --table` this page. Right: root mean square error of at most",
        f"{ACROSS} µm across and {ALONG} µm along z in the true overlap; of real stacks (`--protocol real --data F`) a",
        "voxel of the coarser one. Size 1 is that of the first published experiment (666 x 903 x 247 and 1024 x 1024 x",
        "16 voxels); smaller sizes have fewer rows and columns. Seconds of the processor, one thread.",
        "",
        "| protocol | size | method | runs | right | accepted | accepted and wrong | across, median µm "
        "| along, median µm | seconds, median | seconds, most |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    every = rows()
    for key in sorted({(row["protocol"], row["size"], row["method"]) for row in every}):
        mine = [row for row in every if (row["protocol"], row["size"], row["method"]) == key]
        ours = "confidence" in mine[0]
        right = [is_right(row) for row in mine]
        taken = [row["status"] == "accepted" for row in mine]
        wrong = sum(a and not r for a, r in zip(taken, right, strict=True))
        unrelated = key[0] == "unrelated"
        seconds = [row["cpu_seconds"] for row in mine]
        cells = [
            key[0],
            f"{key[1]:g}",
            key[2],
            str(len(mine)),
            "—" if unrelated else str(sum(right)),
            str(sum(taken)) if ours else "—",
            str(sum(taken) if unrelated else wrong) if ours else "—",
            "—" if unrelated else f"{np.median([row['across'] for row in mine]):.2f}",
            "—" if unrelated else f"{np.median([row['along'] for row in mine]):.2f}",
            f"{np.median(seconds):.1f}",
            f"{max(seconds):.1f}",
        ]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out) + "\n"


def main() -> None:
    """Measure, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--protocol", choices=("shift", "full", "tilt", "unrelated", "real"), default="full")
    parser.add_argument("--seeds", default="0..5", help="first seed and the one after the last, A..B")
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--methods", nargs="+", default=["auto"])
    parser.add_argument("--elastix", default="python", help="an interpreter that has itk-elastix")
    parser.add_argument("--data", type=Path, help="the folder of real stacks, for the protocol real")
    parser.add_argument("--couple", choices=COUPLES, default=COUPLES[0], help="instruments of --files")
    parser.add_argument("--files", type=Path, help="an empty folder: time the command line from files to output there")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        RESULTS.with_suffix(".md").write_text(table())
        return
    first, last = (int(part) for part in asked.seeds.split(".."))
    seeds = range(first, last)
    if asked.files:
        made: Iterator[Row] = (files_to_output(asked.files, seed, asked.size, asked.couple) for seed in seeds)
    elif asked.protocol == "real":
        made = run_real(seeds, asked.data)
    else:
        made = run(asked.protocol, seeds, asked.size, asked.methods, asked.elastix)
    for row in made:
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
