"""Two small images with a known transform, and the result that a registration of them would hand back."""

from pathlib import Path

import numpy as np

from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Status, Verdict
from correlight.images.image import Image
from correlight.io import write_ome_tiff
from correlight.registration.provenance import PARTS
from correlight.registration.result import ImageRecord, Result
from correlight.search.pose import Pose
from correlight.transforms import Affine, Projective

SHAPE = (96, 128)
FIXED_SPACING = 0.02

# Moving pixels (the light image has no calibration) from micrometres of the fixed image: 60 pixels per micrometre,
# turned by 20 degrees, so that the fixed field lies partly outside the moving image.
MOVING_FROM_FIXED = Affine.similarity(20, 60.0, source=(0.95, 1.27), target=(60.0, 66.0))


def texture(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Smooth 16-bit noise."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.normal(size=shape))
    low = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    smooth = np.fft.irfft2(spectrum * np.exp(-((low / 0.06) ** 2)), shape)
    return np.round(20_000 + 8_000 * smooth / smooth.std()).clip(0, 65_535).astype(np.uint16)


def write_images(folder: Path) -> tuple[Path, Path]:
    """A calibrated electron image and an uncalibrated light image of two channels, as files."""
    fixed = Image.from_array(texture(SHAPE, 1), spacing=FIXED_SPACING)
    moving = Image.from_array(np.stack([texture((120, 140), 2), texture((120, 140), 3)]), channels=("stain", "other"))
    paths = folder / "fixed.ome.tif", folder / "moving.ome.tif"
    for path, image in zip(paths, (fixed, moving), strict=True):
        write_ome_tiff(path, image.levels[0], image.grid, image.channels)
    return paths


def known_result(
    fixed: Image,
    moving: Image,
    status: Status = "accepted",
    moving_from_fixed: Affine | Projective = MOVING_FROM_FIXED,
) -> Result:
    """What a registration would hand back that knew the truth."""
    grid = fixed.grid.resized((6, 8))
    return Result(
        moving_from_fixed=moving_from_fixed,
        model="projective" if isinstance(moving_from_fixed, Projective) else "similarity",
        model_reason="A richer model did not fit better.",
        verdict=Verdict(status, {"accepted": 0.9, "doubtful": 0.5, "refused": 0.1}[status], (f"It is {status}.",)),
        predicted_error=PredictedError(np.full((6, 8), 0.03, np.float32), grid),
        poses=(Pose(moving_from_fixed, 1.0, 0.8), Pose(Affine.similarity(200, 60.0), float("-inf"), 0.5)),
        fixed=_record(fixed),
        moving=_record(moving),
        scale_found=1.2,
        scale_claimed=None,
        recipe="auto",
        seed=0,
        seconds={"total": 1.0},
    )


def _record(image: Image) -> ImageRecord:
    return ImageRecord(
        image.source.get("path"),
        image.source.get("sha256"),
        image.grid.shape,
        image.grid.spacing,
        image.grid.unit,
        "OME-XML" if image.grid.calibrated else "not stated",
        image.channels[0],
        image.channels,
        image.findings,
        {name: image.source[name] for name in PARTS if name in image.source},
    )
