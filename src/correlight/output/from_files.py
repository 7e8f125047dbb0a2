"""Two files registered and the folder written: the one way there, for the command line and for every row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from correlight.errors import TransformError, UsageError
from correlight.output.asked import GridChoice
from correlight.parsing import sha256
from correlight.progress import Progress

if TYPE_CHECKING:
    from correlight.images.image import Image
    from correlight.landmarks.tables import LandmarkTable
    from correlight.output.parts import Common
    from correlight.registration.result import Result
    from correlight.search.limits import Start


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a registration of two files.

    Parameters
    ----------
    fixed, moving : Path
        The images.
    recipe, model, fixed_channel, moving_channel, roi, rotation, scale, stretch, mirror, pose, seed
        As for `correlight.register`.
    fixed_spacing, moving_spacing : float or sequence of float, optional
        Micrometres per pixel, in place of what the files state.
    fixed_part, moving_part : mapping
        Which scene, series, frame and view of a file that holds several images, as `correlight.io.read` takes them.
    part : mapping
        The same of either file, where it holds several and nothing is said of it alone.
    fixed_mask, moving_mask : Path, optional
        Images whose zeros are left out.
    start : Path, optional
        A transform file, or landmarks, to start from.
    landmarks : Path, optional
        Landmarks that the model elastic heeds.
    predictor : Path, optional
        Folder of a trained model.
    grid : {"fixed", "moving", "none"} or float
        Grid of the registered image; a number counts micrometres.
    composite : bool
        Whether the fixed image and the registered channels are written as one image as well.
    """

    fixed: Path
    moving: Path
    recipe: str = "auto"
    model: str | None = None
    fixed_channel: str | None = None
    moving_channel: str | None = None
    fixed_spacing: float | Sequence[float] | None = None
    moving_spacing: float | Sequence[float] | None = None
    fixed_part: Mapping[str, Any] = field(default_factory=dict)
    moving_part: Mapping[str, Any] = field(default_factory=dict)
    part: Mapping[str, Any] = field(default_factory=dict)
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    roi: tuple[int, int, int, int] | None = None
    start: Path | None = None
    landmarks: Path | None = None
    rotation: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    stretch: tuple[float, float] | None = None
    mirror: bool = True
    pose: int | None = None
    predictor: Path | None = None
    grid: GridChoice = "fixed"
    composite: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pose is not None and self.pose < 1:
            raise UsageError(f"Poses are counted from 1; got {self.pose}.")
        if self.seed < 0:
            raise UsageError(f"A seed is a whole number from 0; got {self.seed}.")

    @property
    def inputs(self) -> list[Path]:
        """Every file that is read."""
        recipe = Path(self.recipe) if self.recipe.endswith(".toml") else None
        masks = self.fixed_mask, self.moving_mask
        files = (self.fixed, self.moving, *masks, self.start, self.landmarks, self.predictor, recipe)
        return [path for path in files if path is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """What came of it.

    Parameters
    ----------
    result : Result
        The result that was written.
    fixed, moving : Image
        The two images.
    notes : tuple of str
        What else should be known, in words.
    """

    result: Result
    fixed: Image
    moving: Image
    notes: tuple[str, ...]


# Makes a result of what is asked, the two images and the arguments of `correlight.register` that go with them.
Registering = Callable[[Asked, "Image", "Image", dict[str, Any]], "Result"]


def opened(
    path: Path,
    spacing: float | Sequence[float] | None = None,
    mask: Path | None = None,
    part: Mapping[str, Any] | None = None,
    common: Common | None = None,
) -> Image:
    """The image in a file, or the part of it that was chosen, without what a mask excludes."""
    from correlight.io import read_mask
    from correlight.output.parts import Common

    image = (common or Common()).read(path, part, spacing=spacing)
    if mask is None:
        return image
    return image.with_mask(read_mask(mask, image.grid.shape), f"pixels outside the given mask {mask.name} are ignored")


def register_files(
    asked: Asked,
    folder: Path,
    *,
    registering: Registering | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Registered:
    """Read two images, register them, and write the result into a folder that exists (`output.target.reserve`).

    Parameters
    ----------
    asked : Asked
        The files and the options.
    folder : Path
        Where the result goes.
    registering : callable, optional
        What is done in place of one call of `correlight.register`.
    workers : int, optional
        Threads, as for `correlight.register`.
    progress : callable, optional
        Called with the stage and the fraction of it that is done.

    Raises
    ------
    CorrelightError
        As `correlight.io.read`, `correlight.register` and `correlight.output.folder.write_result` do.
    """
    from correlight.io import unchanged
    from correlight.io.write import check_type
    from correlight.output.folder import write_result
    from correlight.output.moved import must_be_bounded, output_pixels
    from correlight.output.parts import Common
    from correlight.registration.provenance import part_of

    told = progress or (lambda stage, fraction: None)
    common = Common(asked.part)
    fixed = opened(asked.fixed, asked.fixed_spacing, asked.fixed_mask, asked.fixed_part, common)
    moving = opened(asked.moving, asked.moving_spacing, asked.moving_mask, asked.moving_part, common)
    common.must_be_heeded()
    # A record says of each file what was read.
    asked = replace(asked, fixed_part=part_of(fixed), moving_part=part_of(moving), part={})
    if asked.grid != "none":
        check_type(moving.dtype)
    if isinstance(asked.grid, float):
        if not fixed.grid.calibrated:
            raise UsageError(
                f"A grid of {asked.grid:g} micrometres was asked for and {asked.fixed} states no pixel size; give a "
                "pixel size for the fixed image, or choose the grid of the fixed or of the moving image."
            )
        must_be_bounded(output_pixels(fixed, asked.grid), moving)
    # The limits of the search take landmarks, and nothing else of the registration uses the start.
    start, notes = _start(asked.start, fixed, moving)
    options: dict[str, Any] = {"start": start, "workers": workers, "progress": told}
    if asked.landmarks is not None:
        options["landmarks"], supposed = _landmarks(asked.landmarks, fixed, moving)
        notes = (*notes, *supposed)
    result = (registering or register_images)(asked, fixed, moving, options)
    told("write", 0.0)
    output: dict[str, Any] = {"grid": asked.grid, "composite": asked.composite}
    written = write_result(folder, result, fixed, moving, **output, progress=partial(told, "write"))
    told("write", 1.0)
    unchanged(fixed)
    unchanged(moving)
    return Registered(result, fixed, moving, (*notes, *written))


def register_images(asked: Asked, fixed: Image, moving: Image, options: Mapping[str, Any]) -> Result:
    """One registration as it was asked for, but for the options that are given here; the result remembers both."""
    from correlight.registration.register import register

    stated = {
        "model": asked.model,
        "fixed_channel": asked.fixed_channel,
        "moving_channel": asked.moving_channel,
        "roi": asked.roi,
        "rotation": asked.rotation,
        "scale": asked.scale,
        "stretch": asked.stretch,
        "mirror": asked.mirror,
        "pose": asked.pose,
        "predictor": asked.predictor,
        "seed": asked.seed,
    }
    result = register(fixed, moving, asked.recipe, **(stated | dict(options)))
    limits = {name: value for name, value in options.items() if name in stated}
    return replace(result, asked=recorded(replace(asked, **limits), fixed, moving))


def recorded(asked: Asked, fixed: Image, moving: Image) -> dict[str, Any]:
    """What is asked, as ``result.json`` holds it: all fields, and the SHA-256 of every file among them."""
    from correlight.output.start import checksum_of_start

    sums = {"fixed": fixed.source.get("sha256"), "moving": moving.source.get("sha256")}
    for name in ("fixed_mask", "moving_mask", "start", "landmarks", "predictor", "recipe"):
        given = getattr(asked, name)
        if isinstance(given, Path) or (name == "recipe" and given.endswith(".toml")):
            sums[name] = checksum_of_start(given) if name == "start" else sha256(given)
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(asked).items()}
    del plain["part"]
    return {**plain, "sha256": sums}


def _start(path: Path | None, fixed: Image, moving: Image) -> tuple[Start | None, tuple[str, ...]]:
    """The transform in a file, or the one that the landmarks in it say; the places themselves if they are too few."""
    if path is None:
        return None, ()
    from correlight.exchange import ExchangeContext, LandmarkTable, PointTable, read_file
    from correlight.output.apply.saved import holds_result
    from correlight.output.start import said_of_start, start_of_result
    from correlight.registration.start import start_of_pairs

    if holds_result(path):
        # One that says what to try next is often started from again.
        return start_of_result(path, fixed, moving)
    content = read_file(path, context=ExchangeContext(fixed=fixed.grid, moving=moving.grid))
    if isinstance(content, PointTable):
        raise UsageError(
            f"{path} gives no start: it holds points of one image, where pairs or a transform were expected."
        )
    if not isinstance(content, LandmarkTable):
        return content, ()
    table, supposed = _landmarks(path, fixed, moving)
    places = table.fixed.positions(fixed.grid), table.moving.positions(moving.grid)
    try:
        start = start_of_pairs(*places)
    except (TransformError, UsageError) as error:
        raise UsageError(f"{path} gives no start: {error}") from error
    return start, (*supposed, *said_of_start(table, fixed, moving, path.name))


def _landmarks(path: Path, fixed: Image, moving: Image) -> tuple[LandmarkTable, tuple[str, ...]]:
    """The landmarks in a file, and what is to be said of their unit."""
    from correlight.landmarks.tables import supposed
    from correlight.output.landmarks import read_pairs

    table = read_pairs(path, fixed.grid, moving.grid)
    return table, tuple(supposed(table, path.name))
