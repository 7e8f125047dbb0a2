"""The result folder: it appears whole or not at all.

Everything is written into a hidden folder beside the one asked for, which is renamed when it is complete. Whatever
goes wrong before that, an interruption or a full disk, leaves nothing behind.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange import write_transform
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image, Mask
from correlight.images.pyramid import Smaller, shown_image
from correlight.images.resample import Order, output_grid, warp, warp_bands
from correlight.io.write import TiffBands, write_tiff
from correlight.io.write_zarr import ZarrBands
from correlight.output.report import write_overlay, write_report
from correlight.output.report.volumes import write_volume_report
from correlight.registration.result import ImageRecord, Result
from correlight.registration.stack import as_stacks
from correlight.transforms import Affine, Projective, Transform

Progress = Callable[[float], None]
GridChoice = Literal["fixed", "moving", "none"] | float

# A folder is replaced only if it holds this, so that a slip of the finger cannot delete somebody's home.
_SIGN = "result.json"
_SLAB = 8_000_000  # voxels of a volume that are resampled at a time
_LARGEST_FILE = 2 * 2**30  # bytes of pixels; above, the registered image is a store of many files


@contextmanager
def reserve(
    out: str | Path, *, overwrite: bool = False, sign: str = _SIGN, inputs: Sequence[str | Path] = ()
) -> Iterator[Path]:
    """A hidden folder to write into, which becomes ``out`` if the block ends well and vanishes if it does not.

    Parameters
    ----------
    out : str or Path
        The folder that shall appear.
    overwrite : bool
        Whether an earlier result there is replaced; it stays in place until the new one is complete.
    sign : str
        A file that marks an earlier result; folders without it are never replaced unless they are empty.
    inputs : sequence of str or Path
        Files that are read meanwhile; a folder that holds one of them is not replaced.

    Yields
    ------
    Path
        The hidden folder, which exists.

    Raises
    ------
    UsageError
        If ``out`` exists and may not be replaced.
    WriteError
        If nothing can be written beside ``out``, or, with the operating system's error as its cause, if writing or
        renaming fails later.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     with reserve(Path(home) / "out") as folder:
    ...         _ = (folder / "result.json").write_text("{}")
    ...     sorted(path.name for path in Path(home).rglob("*"))
    ['out', 'result.json']
    """
    target = Path(os.path.abspath(out))
    _may_be_made(target, out, overwrite, sign)
    _spare(target, inputs)
    with _staging(target, out) as folder:
        yield folder
        _put_in_place(folder, target)


@contextmanager
def reserve_files(*out: str | Path, overwrite: bool = False, inputs: Sequence[str | Path] = ()) -> Iterator[Path]:
    """A hidden folder to write files into, which are moved to where they belong if the block ends well.

    Parameters
    ----------
    *out : str or Path
        The files that shall appear, all in one folder. Each is written under its own name in the hidden folder.
    overwrite : bool
        Whether earlier files there are replaced.
    inputs : sequence of str or Path
        Files that are read meanwhile, none of which may be replaced.

    Yields
    ------
    Path
        The hidden folder, which exists.

    Raises
    ------
    UsageError
        If one of the files exists and may not be replaced, or is a folder.
    WriteError
        As for `reserve`.
    """
    targets = [Path(os.path.abspath(path)) for path in out]
    for target, name in zip(targets, out, strict=True):
        _spare(target, inputs)
        _parent_must_exist(target, name)
        if target.is_dir():
            raise UsageError(f"A file was expected as output; {name} is a folder.")
        if os.path.lexists(target) and not overwrite:
            raise UsageError(
                f"The file {name} exists; choose another name or allow it to be overwritten (--overwrite)."
            )
    with _staging(targets[0], out[0]) as folder:
        yield folder
        for target in targets:
            os.replace(folder / target.name, target)


@contextmanager
def _staging(target: Path, out: str | Path) -> Iterator[Path]:
    """A hidden folder beside the target that never outlives the block; failures to write come out as one sentence."""
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        staging.mkdir()
    except OSError as error:
        raise WriteError(
            f"{out} cannot be made ({error.strerror}); choose a place that exists and that you may write to."
        ) from error
    try:
        yield staging
    except ReadError:
        raise
    except OSError as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or cause
        raise WriteError(
            f"{out} could not be written ({reason}) and nothing was left there; make room or choose another place and "
            "run it again."
        ) from cause
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_result(
    folder: str | Path,
    result: Result,
    fixed: Image,
    moving: Image,
    *,
    grid: GridChoice = "fixed",
    progress: Progress | None = None,
) -> None:
    """Write everything that a registration hands over into a folder that exists (see `reserve`).

    A doubtful result is marked in the picture and the report. A refused one is written without registered image and
    footprint, which nobody could use. Above 2 GiB of pixels the registered image is a store of OME-Zarr. Neither the
    images nor the output are ever whole in memory; the pictures are made of levels of at most 2**24 pixels.

    Parameters
    ----------
    folder : str or Path
        Where the files go.
    result : Result
        What the registration found.
    fixed, moving : Image
        The two images.
    grid : {"fixed", "moving", "none"} or float
        Grid of ``registered.ome.tif`` as for `correlight.images.resample.output_grid`; "none" leaves the image out.
    progress : callable, optional
        Told the fraction of the rows of the registered image that are written.

    Raises
    ------
    UsageError
        If the grid does not suit the images.
    WriteError, OSError
        If a file cannot be written.
    """
    folder = Path(folder)
    transform_file = "moving_from_fixed" + _ending(result.moving_from_fixed)
    _write_json(folder / "result.json", result.to_json(transform_file))
    write_transform(folder / transform_file, result.moving_from_fixed)
    write_tiff(folder / "predicted_error.tif", result.predicted_error.values, result.predicted_error.grid)
    channels = _voted(fixed, result.fixed), _voted(moving, result.moving)
    if result.moving_from_fixed.ndim == 3:
        fixed, moving = as_stacks(fixed, moving)
        write_volume_report(folder, result, fixed, moving, channels)
        if grid != "none" and result.status != "refused":
            _write_volume(folder, result.moving_from_fixed, fixed, moving, grid, progress)
        return
    seen, light = shown_image(fixed), shown_image(moving)
    if result.status == "refused":
        write_overlay(
            folder / "overlay.png",
            seen,
            None,
            None,
            channels[1],
            fixed_channel=channels[0],
            mark="refused: the moving image could not be placed",
        )
        write_report(folder / "report.html", result, seen, light, None, None)
        return
    registered, footprint = warp(light, light.grid, result.moving_from_fixed, seen.grid)
    mark = None if result else f"{result.status}: check before use"
    write_overlay(
        folder / "overlay.png", seen, registered, footprint, channels[1], fixed_channel=channels[0], mark=mark
    )
    write_report(folder / "report.html", result, seen, light, registered, footprint)
    del registered, footprint
    if grid == "none":
        return
    onto = output_grid(fixed.grid, moving.grid, result.moving_from_fixed, grid)
    files = folder / picture_name(moving, onto), folder / "footprint.tif"
    write_moved(*files, moving, moving.grid, result.moving_from_fixed, onto, progress=progress)


def _write_volume(
    folder: Path, moving_from_fixed: Transform, fixed: Image, moving: Image, grid: GridChoice, progress: Progress | None
) -> None:
    """The registered stack as one file and as a store, which viewers of volumes want, and its footprint."""
    onto = output_grid(fixed.grid, moving.grid, moving_from_fixed, "fixed" if grid == "none" else grid)
    shape, names = (len(moving.channels), *onto.shape), moving.channels
    with ExitStack() as stack:
        writers: list[TiffBands | ZarrBands] = [
            stack.enter_context(ZarrBands(folder / "registered.ome.zarr", shape, moving.dtype, onto, names))
        ]
        path = folder / picture_name(moving, onto)
        if path.suffix != ".zarr":
            writers.append(stack.enter_context(TiffBands(path, shape, moving.dtype, onto, names)))
        mask = np.dtype(np.uint8)
        covered = stack.enter_context(TiffBands(folder / "footprint.tif", (1, *onto.shape), mask, onto, ("footprint",)))
        for done, (values, inside) in enumerate(_bands(moving, moving.grid, moving_from_fixed, onto, "linear", None)):
            for writer in writers:
                writer.add(values)
            covered.add(inside[None].view(np.uint8))
            if progress is not None:
                progress((done + 1) / onto.shape[0])


def picture_name(image: Image, onto: Grid) -> str:
    """How an image is called once it is moved onto a grid: one file, or a store where that would be too large."""
    size = len(image.channels) * math.prod(onto.shape) * image.dtype.itemsize
    return "registered.ome.zarr" if size > _LARGEST_FILE else "registered.ome.tif"


def write_moved(
    path: Path,
    footprint: Path,
    image: Image,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    *,
    order: Order = "linear",
    mask: Mask | CoarseMask | None = None,
    progress: Progress | None = None,
) -> float:
    """Move every channel of an image and write it band by band, with its footprint.

    Parameters
    ----------
    path : Path
        The picture, OME-Zarr if its name ends in ``.zarr`` and OME-TIFF otherwise; a pyramid above 4096 pixels.
    footprint : Path
        Where it was really sampled, a TIFF of zeros and ones.
    image, image_grid, moving_from_fixed, onto, order, mask
        As for `correlight.images.resample.warp`.
    progress : callable, optional
        Told the fraction of the rows that are written.

    Returns
    -------
    float
        The share of the output that was sampled.

    Raises
    ------
    UsageError
        If the pixels do not suit the format.
    OSError
        If a file cannot be written.
    """
    told = progress or (lambda fraction: None)
    pyramid: Smaller = "nearest" if order == "nearest" else "mean"
    shape = (len(image.channels), *onto.shape)
    writer: TiffBands | ZarrBands
    if path.suffix == ".zarr":
        writer = ZarrBands(path, shape, image.dtype, onto, image.channels, pyramid=pyramid)
    else:
        writer = TiffBands(path, shape, image.dtype, onto, image.channels, rgb=image.rgb, pyramid=pyramid)
    sampled, total, done = 0, math.prod(onto.shape), 0
    with writer, TiffBands(footprint, (1, *onto.shape), np.dtype(np.uint8), onto, ("footprint",)) as covered:
        for values, inside in _bands(image, image_grid, moving_from_fixed, onto, order, mask):
            writer.add(values)
            covered.add(inside[None].view(np.uint8))
            sampled, done = sampled + int(np.count_nonzero(inside)), done + inside.size
            told(done / total)
    return sampled / total


def _bands(
    image: Image,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Order,
    mask: Mask | CoarseMask | None,
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Rows of a picture, or slices of a volume, as they are made."""
    if onto.ndim == 2:
        yield from warp_bands(image, image_grid, moving_from_fixed, onto, order, mask)
        return
    # As many slices at a time as make a slab of a few million voxels.
    step = max(1, _SLAB // (onto.shape[1] * onto.shape[2]))
    for top in range(0, onto.shape[0], step):
        slab = onto.crop((top, 0, 0), (min(top + step, onto.shape[0]), *onto.shape[1:]))
        values, footprint = warp(image, image_grid, moving_from_fixed, slab, order, mask)
        yield from ((values[:, plane], footprint[plane]) for plane in range(slab.shape[0]))


def _ending(transform: Transform) -> str:
    """The simplest kind of file that holds a transform."""
    if isinstance(transform, Affine):
        return ".tfm"
    return ".txt" if isinstance(transform, Projective) else ".h5"


def _parent_must_exist(target: Path, out: str | Path) -> None:
    if not target.parent.is_dir():
        raise WriteError(f"{out} cannot be made as {target.parent} is no folder; make that one first.")


def _spare(target: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse to replace what is being read."""
    place = target.resolve()
    for path in inputs:
        file = Path(path).resolve()
        if file == place or place in file.parents:
            raise UsageError(f"The output {target} would replace the input {path}; choose another name.")


def _may_be_made(target: Path, out: str | Path, overwrite: bool, sign: str) -> None:
    if not target.name:
        raise UsageError(f"A folder to make was expected; {out} is the root of a disk.")
    _parent_must_exist(target, out)
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise UsageError(f"A folder was expected as output; {out} is something else, so choose another name.")
    if not overwrite:
        raise UsageError(f"The folder {out} exists; choose another name or allow it to be overwritten (--overwrite).")
    if any(target.iterdir()) and not (target / sign).is_file():
        raise UsageError(f"The folder {out} holds no earlier result ({sign}) and is not overwritten; choose another.")


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename the complete folder; an earlier one steps aside first and comes back if that fails."""
    if not target.exists():
        staging.rename(target)
        return
    earlier = staging.with_suffix(".earlier")
    target.rename(earlier)
    try:
        staging.rename(target)
    except BaseException:
        earlier.rename(target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _voted(image: Image, record: ImageRecord) -> int | None:
    """The channel that was registered; None where all colours of a picture were."""
    return image.channels.index(record.channel) if record.channel in image.channels else None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    """The same content with null for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
