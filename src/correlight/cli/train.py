"""``correlight train``: a model that predicts one microscope's image from another's, from registered pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from correlight.cli.options import Overwrite, Whole
from correlight.cli.terminal import ACCEPTED, printable, tell_notes
from correlight.errors import UsageError
from correlight.output.asked import positive


def train(
    pairs: Path,
    /,
    *,
    as_: Annotated[str, Parameter(name="--as")],
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    predicts_from: Literal["fixed", "moving"] = "fixed",
    source: str | None = None,
    target: str | None = None,
    pixel: float | None = None,
    shrink: float | None = None,
    contrast: Literal["stretched", "normalised", "equalised", "equalised-locally"] | None = None,
    steps: Whole = 3000,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    license: str = "CC-BY-4.0",
    seed: Whole = 0,
    overwrite: Overwrite = False,
) -> int:
    """Train a model from pairs of images, or go on with a training that was interrupted.

    Parameters
    ----------
    pairs
        CSV with the columns fixed and moving, and any of transform, fixed_channel, moving_channel, fixed_spacing,
        moving_spacing; for super-resolution only those of the images that are predicted from.
    as_
        Kind of model.
    output
        Folder of the model; written completely or not at all.
    predicts_from
        Which image of a pair is predicted from; the other one is predicted.
    source
        What is predicted from, in words, such as electron.
    target
        What is predicted, in words, such as chromatin.
    pixel
        Micrometres per pixel at which the model works.
    shrink
        Pixels of the source images per pixel of the model, where no pixel size is asked for. Default: 4, or 1 for
        super-resolution.
    contrast
        How grey values of the source images are prepared. Default: equalised, or stretched for super-resolution.
    steps
        Batches to learn from at most.
    device
        Where networks are trained.
    license
        Identifier of SPDX under which the model may be used.
    seed
        Seed of every random draw.
    """
    if steps < 1 or seed < 0:
        raise UsageError(f"Steps are counted from 1 and a seed from 0; got {steps} steps and the seed {seed}.")

    from correlight.predict.facts import LEAST_SHRINK, MOST_SHRINK, Contrast
    from correlight.predict.kinds import kind
    from correlight.predict.training import TrainingSettings
    from correlight.training.make import Order, make_model

    positive(pixel, "--pixel")
    if shrink is not None and not LEAST_SHRINK <= shrink <= MOST_SHRINK:
        raise UsageError(f"--shrink expects a number from {LEAST_SHRINK:g} to {MOST_SHRINK:g}; got {shrink:g}.")
    ways: dict[str, Contrast] = {
        "stretched": "stretched",
        "normalised": "normalised",
        "equalised": "equalised",
        "equalised-locally": "equalised locally",
    }
    usual = kind(as_)
    order = Order(pairs, as_, predicts_from, source, target, pixel, usual.shrink if shrink is None else shrink, license)
    prepared = usual.contrast if contrast is None else ways[contrast]
    settings = TrainingSettings(steps=steps, seed=seed, contrast=prepared, device=device)
    notes = make_model(output, order, settings, _told, overwrite=overwrite)
    print(printable(f"Model: {output}; report: {output / 'training.html'}"))
    tell_notes(notes)
    return ACCEPTED


def _told(words: str, fraction: float) -> None:
    print(printable(f"correlight: {words}"), file=sys.stderr, flush=True)
