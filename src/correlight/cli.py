"""The command line: reads files, calls the road, writes a folder, and ends with a code that scripts can rely on.

0 accepted; 3 doubtful or refused; 2 wrong usage or unreadable input; 1 the machine failed; 130 interrupted. Whatever
goes wrong ends in one sentence on standard error and leaves nothing behind.
"""

from __future__ import annotations

import errno
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import cyclopts
from cyclopts import App, Parameter

from correlight import __version__
from correlight.errors import CorrelightError, TransformError, UsageError

if TYPE_CHECKING:
    from correlight.image import Image
    from correlight.result import Result
    from correlight.search.limits import Start

ACCEPTED, FAILED, MISUSED, UNSURE, INTERRUPTED = 0, 1, 2, 3, 130

MODELS = ("rigid", "similarity", "affine", "projective")

# What a disk or a kernel says when it, and not the user, is at its end.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}

# No point at the end: in "0...5" the first number would otherwise swallow a point of the two that separate.
_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"

app = App(
    name="correlight",
    version=__version__,
    help="Lays images of one specimen from different microscopes on top of each other, and says how far to trust it.",
)

Output = Annotated[Path, Parameter(name=("--output", "-o"), help="Folder to make; it appears whole or not at all.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace an earlier result.")]
Spacing = Annotated[float | None, Parameter(help="Micrometres per pixel, in place of what the file states.")]
Signed = Parameter(allow_leading_hyphen=True)


@app.command
def register(
    fixed: Path,
    moving: Path,
    /,
    *,
    output: Output,
    recipe: str = "auto",
    model: str | None = None,
    fixed_channel: str | None = None,
    moving_channel: str | None = None,
    fixed_spacing: Spacing = None,
    moving_spacing: Spacing = None,
    fixed_mask: Path | None = None,
    moving_mask: Path | None = None,
    roi: Annotated[str | None, Signed] = None,
    start: Path | None = None,
    rotation: Annotated[str | None, Signed] = None,
    scale: Annotated[str | None, Signed] = None,
    mirror: Annotated[bool, Parameter(name="--mirror", negative="--no-mirror")] = True,
    pose: int | None = None,
    grid: Annotated[str, Signed] = "fixed",
    seed: int = 0,
    overwrite: Overwrite = False,
) -> int:
    """Find the transform between two images, judge it, and move every channel onto the fixed image.

    Parameters
    ----------
    fixed
        The image that stays as it is.
    moving
        The image that is laid onto it.
    output
        Folder to make; it appears whole or not at all.
    recipe
        Name of a recipe, or a TOML file.
    model
        rigid, similarity, affine or projective; without it, only as rich as the evidence carries.
    fixed_channel
        Channel to register, by 0-based number or name; without it every channel is tried.
    moving_channel
        The same for the moving image.
    fixed_mask
        Image of the same size whose zeros must not vote.
    moving_mask
        The same for the moving image.
    roi
        Y0,Y1,X0,X1: the part of the fixed image to register, in pixels (ends excluded).
    start
        A transform file, or a CSV of landmarks (name,fixed_y,fixed_x,moving_y,moving_x), to start from.
    rotation
        A..B: degrees, counter-clockwise, between which to search.
    scale
        A..B: moving pixels per fixed pixel between which to search.
    mirror
        Whether the moving image may be mirrored.
    pose
        Take the K-th pose of an earlier search, counted from 1.
    grid
        Pixels of the registered image: fixed, moving, a pixel size in micrometres, or none to leave it out.
    seed
        Seed of every random draw.
    """
    if model == "elastic":
        raise UsageError(f"The model elastic is not available yet; choose one of {', '.join(MODELS)}.")
    if model is not None and model not in MODELS:
        raise UsageError(f"A model is one of {', '.join(MODELS)}; got {model!r}.")
    if pose is not None and pose < 1:
        raise UsageError(f"Poses are counted from 1; got {pose}.")
    if seed < 0:
        raise UsageError(f"A seed is a whole number from 0; got {seed}.")
    _positive(fixed_spacing, "--fixed-spacing")
    _positive(moving_spacing, "--moving-spacing")
    turns, scales = interval(rotation, "--rotation"), interval(scale, "--scale", positive=True)
    region, onto = box(roi), grid_choice(grid)

    from correlight.folder import reserve, write_result
    from correlight.register import register as run

    inputs = [path for path in (fixed, moving, fixed_mask, moving_mask, start) if path is not None]
    with reserve(output, overwrite=overwrite, inputs=inputs) as folder:
        fixed_image = _read(fixed, fixed_spacing, fixed_mask)
        moving_image = _read(moving, moving_spacing, moving_mask)
        if isinstance(onto, float) and not fixed_image.grid.calibrated:
            raise UsageError(
                f"--grid {grid} counts micrometres and {fixed} states no pixel size; give --fixed-spacing, or choose "
                "--grid fixed or moving."
            )
        with _progress() as progress:
            result = run(
                fixed_image,
                moving_image,
                recipe,
                model=model,
                fixed_channel=fixed_channel,
                moving_channel=moving_channel,
                roi=region,
                # The limits of the search understand clicks, and nothing else of the registration looks at the start.
                start=_start(start, fixed_image, moving_image),
                rotation=turns,
                scale=scales,
                mirror=mirror,
                pose=pose,
                seed=seed,
                progress=progress,
            )
            progress("write", 0.0)
            write_result(folder, result, fixed_image, moving_image, grid=onto)
            progress("write", 1.0)
    _tell(result, output)
    return ACCEPTED if result else UNSURE


@app.command
def apply(
    transform: Path,
    /,
    *moving: Path,
    like: Path,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    order: Literal["linear", "nearest"] = "linear",
    labels: Annotated[bool, Parameter(negative="")] = False,
    points_in: Literal["moving", "fixed"] = "moving",
    stage_axes: Literal["right-down", "right-up", "left-down", "left-up"] = "right-down",
    fixed_spacing: Spacing = None,
    moving_spacing: Spacing = None,
    overwrite: Overwrite = False,
) -> int:
    """Move other channels, label images, crops or a table of points with a transform that was found before.

    Parameters
    ----------
    transform
        A result folder, its result.json, or a transform file (.tfm, .h5, .txt, .json).
    moving
        Images in the frame of the moving image, a CSV that names images and where they lie, or a CSV of points.
    like
        The fixed image, whose pixels the output has.
    output
        A .tif file (its footprint is written beside it) or a folder; for points a .csv file.
    order
        Interpolation.
    labels
        The image holds labels: the same as --order nearest.
    points_in
        The image that points were seen in; they come out in the other one.
    stage_axes
        Which way the coordinates of the stage grow on the screen, x first.
    """
    _positive(fixed_spacing, "--fixed-spacing")
    _positive(moving_spacing, "--moving-spacing")
    if not moving:
        raise UsageError("An image, or a CSV of images or of points, was expected after the transform.")

    from correlight.apply import apply as run
    from correlight.apply import holds_session

    if len(moving) > 1 or (moving[0].suffix.lower() == ".csv" and holds_session(moving[0])):
        spacings_given = fixed_spacing, moving_spacing
        return _apply_many(transform, moving, like, output, order, labels, stage_axes, *spacings_given, overwrite)
    moved = run(
        transform,
        moving[0],
        like,
        output,
        order="nearest" if labels else order,
        fixed_spacing=fixed_spacing,
        moving_spacing=moving_spacing,
        points_in=points_in,
        stage_axes=stage_axes,
        overwrite=overwrite,
    )
    for path in moved.files:
        print(path)
    if moved.outside:
        names = ", ".join(moved.outside[:5]) + (" and others" if len(moved.outside) > 5 else "")
        there = "fixed" if points_in == "moving" else "moving"
        print(
            f"correlight: note that {len(moved.outside)} points lie outside the {there} image: {names}.",
            file=sys.stderr,
        )
    if moved.status not in (None, "accepted"):
        print(f"correlight: note that the registration behind {transform} was {moved.status}.", file=sys.stderr)
    return ACCEPTED


def _apply_many(
    transform: Path,
    moving: Sequence[Path],
    like: Path,
    output: Path,
    order: Literal["linear", "nearest"],
    labels: bool,
    stage_axes: Literal["right-down", "right-up", "left-down", "left-up"],
    fixed_spacing: float | None,
    moving_spacing: float | None,
    overwrite: bool,
) -> int:
    """Move the images that are given, or those that a table names."""
    from correlight.apply import Member, apply_session, read_session

    if len(moving) > 1:
        members = tuple(Member(path, moving_spacing, offset=(0.0, 0.0), labels=labels) for path in moving)
    elif moving_spacing is not None:
        raise UsageError(f"The pixel sizes of the images in {moving[0]} belong into its column spacing.")
    else:
        members = read_session(moving[0])
    done = apply_session(
        transform,
        members,
        like,
        output,
        order="nearest" if labels else order,
        fixed_spacing=fixed_spacing,
        stage_axes=stage_axes,
        overwrite=overwrite,
        inputs=tuple(moving),
    )
    for entry in done:
        if entry.file is not None:
            print(entry.file)
        if entry.sentence:
            print(f"correlight: note that {entry.sentence}", file=sys.stderr)
    return ACCEPTED


@app.command
def convert(
    source: Path,
    target: Path,
    /,
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    fixed: Path | None = None,
    moving: Path | None = None,
    fixed_spacing: str | None = None,
    moving_spacing: str | None = None,
    model: Literal["rigid", "similarity", "affine", "projective"] | None = None,
    name: str | None = None,
    into: Path | None = None,
    dimensions: Literal[2, 3] | None = None,
    unit: Literal["micrometre", "pixel"] = "micrometre",
    overwrite: Overwrite = False,
) -> int:
    """Write a transform, landmarks or points of one tool for another.

    Parameters
    ----------
    source
        The file to read, or a result folder.
    target
        The file to write; its ending says the format where it can.
    from_
        Format to read, where the file does not tell.
    to
        Format to write, where the ending does not tell.
    fixed
        The fixed image, for formats that count pixels or state sizes.
    moving
        The moving image, likewise.
    fixed_spacing
        Micrometres per pixel, or Z,Y,X of a volume; 1 for an image without pixel size.
    moving_spacing
        The same for the moving image.
    model
        The kind of transform to fit to landmarks.
    name
        What the moving image is called in a file that speaks of several.
    into
        A dataset of the same format to write into; all else in it stays as it is.
    dimensions
        How many axes to read from formats that always state three.
    unit
        What numbers count in files of points that do not say.
    """
    from correlight.convert import convert as run
    from correlight.exchange import Setting

    done = run(
        source,
        target,
        read_as=from_,
        write_as=to,
        fixed=fixed,
        moving=moving,
        fixed_spacing=spacings(fixed_spacing, "--fixed-spacing"),
        moving_spacing=spacings(moving_spacing, "--moving-spacing"),
        setting=Setting(name=name, ndim=dimensions, into=into, unit=unit),
        model=model,
        overwrite=overwrite,
    )
    print(f"{target}: {done.kind}, {done.format}")
    for note in done.notes:
        print(f"correlight: note that {note}.", file=sys.stderr)
    return ACCEPTED


@app.command
def landmarks(
    points: Path,
    /,
    *,
    fixed: Path,
    moving: Path,
    output: Output,
    model: Literal["rigid", "similarity", "affine", "projective", "thin-plate", "elastic"] | None = None,
    error: float | None = None,
    noise: Literal["isotropic", "anisotropic"] = "isotropic",
    without: str | None = None,
    fixed_spacing: Spacing = None,
    moving_spacing: Spacing = None,
    grid: Annotated[str, Signed] = "fixed",
    overwrite: Overwrite = False,
) -> int:
    """Fit a transform to landmarks set by hand, judge it, and predict its error at every place.

    Parameters
    ----------
    points
        Pairs of places: a CSV (name,fixed_y,fixed_x,moving_y,moving_x), or a file of BigWarp or eC-CLEM.
    fixed
        The image that stays as it is.
    moving
        The image that is laid onto it.
    model
        Kind of transform; without it, only as rich as the landmarks carry.
    error
        How far a landmark may be off along each axis, in the unit of the fixed image; without it their scatter tells.
    noise
        Whether an error that is found from scatter is the same along all axes.
    without
        Names of landmarks to leave out, parted by commas.
    grid
        Pixels of the registered image: fixed, moving, a pixel size in micrometres, or none to leave it out.
    """
    _positive(fixed_spacing, "--fixed-spacing")
    _positive(moving_spacing, "--moving-spacing")
    if error is not None and not (math.isfinite(error) and error >= 0):
        raise UsageError(f"--error expects a length that is not negative; got {error:g}.")
    onto = grid_choice(grid)

    from correlight.folder import reserve, write_result
    from correlight.from_landmarks import from_landmarks, read_names, read_pairs, write_landmark_table

    with reserve(output, overwrite=overwrite, inputs=[points, fixed, moving]) as folder:
        images = _read(fixed, fixed_spacing, None), _read(moving, moving_spacing, None)
        table = read_pairs(points, images[0].grid, images[1].grid)
        done = from_landmarks(*images, table, model, error=error, noise=noise, without=read_names(without))
        write_result(folder, done.result, *images, grid=onto)
        write_landmark_table(folder / "landmarks.csv", done)
    _tell(done.result, output)
    return ACCEPTED if done.result else UNSURE


@app.command
def features(
    image: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    channel: str | None = None,
    at: Annotated[float | None, Parameter(name="--at")] = None,
    spacing: Spacing = None,
    overwrite: Overwrite = False,
) -> int:
    """Write the learned features of an image, by which other programs can compare it with another instrument's.

    Parameters
    ----------
    image
        An image or a volume, whose slices are described one by one.
    output
        A .tif file with 16 channels, or a .npy file.
    channel
        Number from 0, or name; the first without.
    at
        Pixel size to work at, in the unit of the image.
    """
    _positive(spacing, "--spacing")
    _positive(at, "--at")
    if output.suffix.lower() not in (".tif", ".tiff", ".npy"):
        raise UsageError(f"Features are written to a .tif or .npy file; got {output}; choose one of those endings.")

    import numpy as np

    from correlight.appearance.features import features as run
    from correlight.folder import reserve_files
    from correlight.io import write_ome_tiff

    with reserve_files(output, overwrite=overwrite, inputs=[image]) as folder:
        made = run(_read(image, spacing, None), channel, at)
        part = folder / output.name
        if output.suffix.lower() == ".npy":
            np.save(part, np.asarray(made.levels[0]))
        else:
            write_ome_tiff(part, made.levels[0], made.grid, made.channels)
    print(f"{output}: {' x '.join(map(str, made.levels[0].shape))}")
    return ACCEPTED


@app.command
def demo(
    *,
    output: Output = Path("correlight-demo"),
    kind: Literal["cell", "grains", "tissue", "fibres", "neuropil"] = "cell",
    seed: int = 1,
    overwrite: Overwrite = False,
) -> int:
    """Simulate a specimen under two microscopes, register the files, and compare with the known truth.

    Parameters
    ----------
    kind
        What to simulate: a cell section, metal grains, an organ, bundles of fibres, or neuropil.
    seed
        Another number is another specimen.
    """
    if seed < 0:
        raise UsageError(f"A seed is a whole number from 0; got {seed}.")

    import numpy as np

    from correlight.folder import reserve, write_result
    from correlight.register import register as run
    from correlight.simulate import pair
    from correlight.simulate.write import write_pair

    with reserve(output, overwrite=overwrite, sign="truth.json") as folder, _progress() as progress:
        progress("simulate", 0.0)
        truth = pair(kind, seed)
        files = write_pair(folder, truth)
        progress("simulate", 1.0)
        fixed_image, moving_image = (_settled(_read(path, None, None), output) for path in (files.fixed, files.moving))
        result = run(fixed_image, moving_image, seed=seed, progress=progress)
        (folder / "result").mkdir()
        write_result(folder / "result", result, fixed_image, moving_image)
    points = fixed_image.grid.lattice(10)
    apart = np.linalg.norm(result.moving_from_fixed(points) - truth.moving_from_fixed(points), axis=1)
    mean, most = (float(value) / truth.moving_from_fixed.scale for value in (apart.mean(), apart.max()))
    _tell(result, output / "result")
    pixel = fixed_image.grid.spacing[1]
    print(
        f"Error against the known truth, in the fixed image: mean {mean:.3g} µm ({mean / pixel:.2g} pixels), "
        f"largest {most:.3g} µm ({most / pixel:.2g} pixels)."
    )
    return ACCEPTED if result else UNSURE


def interval(text: str | None, option: str, *, positive: bool = False) -> tuple[float, float] | None:
    """The two numbers of ``A..B``, or None for None.

    Raises
    ------
    UsageError
        If there are not two finite numbers in ascending order, or one that must be positive is not.
    """
    if text is None:
        return None
    match = re.fullmatch(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*", text)
    low, high = (float(match[1]), float(match[2])) if match else (math.nan, math.nan)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (positive and low <= 0):
        kind = "positive numbers" if positive else "numbers"
        example = "0.5..2" if positive else "-10..10"
        raise UsageError(f"{option} expects two {kind} in ascending order, such as {example}; got {text!r}.")
    return low, high


def spacings(text: str | None, option: str) -> tuple[float, ...] | None:
    """One pixel size for every axis or one for each, array order, or None for None.

    Raises
    ------
    UsageError
        If there are not one to three positive numbers.
    """
    if text is None:
        return None
    if not re.fullmatch(rf"\s*{_NUMBER}(\s*,\s*{_NUMBER}){{0,2}}\s*", text):
        raise UsageError(f"{option} expects one number of micrometres or Z,Y,X; got {text!r}.")
    values = tuple(float(part) for part in text.split(","))
    for value in values:
        _positive(value, option)
    return values


def box(text: str | None) -> tuple[int, int, int, int] | None:
    """The four whole numbers of ``Y0,Y1,X0,X1``, or None for None.

    Raises
    ------
    UsageError
        If there are not four, or they enclose no pixel.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text)
    top, bottom, left, right = (int(part) for part in match.groups()) if match else (0, 0, 0, 0)
    if top >= bottom or left >= right:
        raise UsageError(f"--roi expects Y0,Y1,X0,X1 in whole pixels with Y0 < Y1 and X0 < X1; got {text!r}.")
    return top, bottom, left, right


def grid_choice(text: str) -> Literal["fixed", "moving", "none"] | float:
    """What ``--grid`` asks for: a word, or micrometres per pixel.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if text in ("fixed", "moving", "none"):
        return cast(Literal["fixed", "moving", "none"], text)
    if re.fullmatch(_NUMBER, text) and math.isfinite(float(text)) and float(text) > 0:
        return float(text)
    raise UsageError(f"--grid expects fixed, moving, none or a positive number of micrometres; got {text!r}.")


def _positive(value: float | None, option: str) -> None:
    from correlight.io.calibration import LARGEST, SMALLEST

    if value is not None and not (math.isfinite(value) and SMALLEST <= value <= LARGEST):
        raise UsageError(
            f"{option} expects a positive number of micrometres per pixel, from {SMALLEST:g} to {LARGEST:g}; "
            f"got {value:g}."
        )


def _read(path: Path, spacing: float | None, mask: Path | None) -> Image:
    from correlight.io import read, read_mask

    image = read(path, spacing=spacing)
    if mask is None:
        return image
    return image.with_mask(read_mask(mask, image.grid.shape), f"pixels outside the given mask {mask.name} are ignored")


def _settled(image: Image, folder: Path) -> Image:
    """The same image, remembering the folder that its file will lie in rather than the provisional one."""
    return replace(image, source={**image.source, "path": str(folder / Path(image.source["path"]).name)})


def _start(path: Path | None, fixed: Image, moving: Image) -> Start | None:
    """The transform in a file, or the one that the landmarks in it say; the places themselves if they are too few."""
    if path is None:
        return None
    from correlight.exchange import LandmarkTable, PointTable, Setting, read_file
    from correlight.from_landmarks import read_pairs
    from correlight.landmarks import fit
    from correlight.search.limits import Clicks

    content = read_file(path, setting=Setting(fixed=fixed.grid, moving=moving.grid))
    if isinstance(content, PointTable):
        raise UsageError(
            f"{path} gives no start: it holds points of one image, where pairs or a transform were expected."
        )
    if not isinstance(content, LandmarkTable):
        return content
    table = read_pairs(path, fixed.grid, moving.grid)
    places = table.fixed.positions(fixed.grid), table.moving.positions(moving.grid)
    try:
        if len(places[0]) < 3:
            return Clicks(*places)
        # A few clicks cannot tell shear from a shaky hand, and a start need not.
        return fit(*places, "affine" if len(places[0]) >= 6 else "similarity")
    except (TransformError, UsageError) as error:
        raise UsageError(f"{path} gives no start: {error}") from error


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on standard error if somebody is there to see it."""
    if not sys.stderr.isatty():
        yield lambda stage, fraction: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<10}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def show(stage: str, fraction: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=fraction)

        yield show


def _tell(result: Result, folder: Path) -> None:
    """The verdict in a few lines on standard output."""
    error = result.predicted_error
    print(f"{result.status.capitalize()} (confidence {result.verdict.confidence:.2f}), model {result.model}.")
    for reason in result.verdict.reasons:
        print(f"  {reason}")
    if math.isfinite(error.median):
        symbol = error.grid.frame.symbol
        print(f"Predicted error: median {error.median:.3g} {symbol}, 95 % below {error.p95:.3g} {symbol}.")
    print(f"Report: {folder / 'report.html'}")


def _code(error: BaseException) -> int:
    """The exit code that an error stands for."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in _MACHINE):
            return FAILED
        cause = cause.__cause__
    return MISUSED if isinstance(error, CorrelightError) else FAILED


def _fail(sentence: str, code: int) -> int:
    print(f"correlight: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; never raises but for `SystemExit` by a signal.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the name of the program; those of the process by default.
    """
    try:
        command, bound, _ = app.parse_args(
            sys.argv[1:] if argv is None else list(argv), print_error=False, exit_on_error=False
        )
        outcome = command(*bound.args, **bound.kwargs)
        return outcome if isinstance(outcome, int) else ACCEPTED
    except cyclopts.CycloptsError as error:
        one = re.sub(r"\.\s+([A-Z])", lambda start: f"; {start[1].lower()}", str(error)).rstrip(".?! ")
        return _fail(f"{one}; run 'correlight --help' to see what is expected.", MISUSED)
    except KeyboardInterrupt:
        return _fail("Interrupted; nothing was written.", INTERRUPTED)
    except CorrelightError as error:
        return _fail(str(error), _code(error))
    except MemoryError:
        return _fail("The memory of this machine does not suffice; close other programs or bin the images.", FAILED)
    except OSError as error:
        return _fail(f"The machine failed: {error.strerror or error}.", FAILED)
    except Exception as error:
        if os.environ.get("CORRELIGHT_DEBUG"):
            raise
        return _fail(
            f"Internal error, {type(error).__name__}: {error}; please report it, with what CORRELIGHT_DEBUG=1 shows.",
            FAILED,
        )
