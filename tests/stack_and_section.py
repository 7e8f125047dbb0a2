"""A small stack, a section cut out of it along a tilted plane, and the result that a registration would hand back."""

import numpy as np
from scipy import ndimage

from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Status, Verdict
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.registration.provenance import image_record
from correlight.registration.result import Result
from correlight.registration.stack import as_stacks
from correlight.search.pose import Pose
from correlight.transforms import Affine, Transform
from tests.phantoms import noise

STACK = Grid.of((20, 140, 160), (0.4, 0.1, 0.1), unit="micrometre")
SECTION = Grid.of((90, 110), (0.08, 0.08), unit="micrometre")


def stack_from_section(tilt: float = 4.0, rotation: float = 25.0) -> Affine:
    """From (0, y, x) of the section to (z, y, x) of the stack, in micrometres, middle on middle."""
    turn, lean = np.radians(rotation), np.radians(tilt)
    about_z = np.array([[1, 0, 0], [0, np.cos(turn), np.sin(turn)], [0, -np.sin(turn), np.cos(turn)]])
    about_y = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]])
    middle = np.array([0.0, *SECTION.centre])
    return Affine.of(about_y @ about_z, STACK.centre + np.array([0.07, 0, 0]) - about_y @ about_z @ middle)


def stack_and_section(tilt: float = 4.0) -> tuple[Image, Image]:
    """The section holds exactly what linear interpolation finds in the stack; both are bright everywhere."""
    pixels = (20_000 + 6_000 * noise(STACK.shape, 5, (2, 5, 5))).clip(5_000, 60_000).astype(np.uint16)
    places = np.column_stack([np.zeros(SECTION.shape[0] * SECTION.shape[1]), SECTION.lattice_of_pixels()])
    index = STACK.index(stack_from_section(tilt)(places)).T
    cut = ndimage.map_coordinates(pixels.astype(float), index, order=1, mode="constant").reshape(SECTION.shape)
    stack = Image.from_array(pixels[None], spacing=STACK.spacing, channels=("dye",))
    return stack, Image.from_array(np.rint(cut).astype(np.uint16), spacing=SECTION.spacing)


def known(fixed: Image, moving: Image, moving_from_fixed: Transform, status: Status = "accepted") -> Result:
    """What a registration would hand back that knew the truth."""
    three = as_stacks(fixed, moving)
    shape = tuple(min(2, n) for n in three[0].grid.shape)
    return Result(
        moving_from_fixed=moving_from_fixed,
        model="rigid",
        model_reason="A richer model did not fit better.",
        verdict=Verdict(status, 0.9, (f"It is {status}.",)),
        predicted_error=PredictedError(np.full(shape, 0.05, np.float32), three[0].grid.resized(shape)),
        poses=(Pose(moving_from_fixed, 1.0, 0.8),) if isinstance(moving_from_fixed, Affine) else (),
        fixed=image_record(three[0], 0),
        moving=image_record(three[1], 0),
        scale_found=1.0,
        scale_claimed=1.0,
        recipe="auto",
        seed=0,
        seconds={"total": 1.0},
    )
