"""The field of the fixed image, wherever it lies: by matching, and where no place stands out, by the usual search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from correlight.images.image import Image
from correlight.output.pair import PreparedPair, Progress, cut_out, prepare_pair
from correlight.registration.register import register
from correlight.search.limits import pixel_size
from correlight.transforms import Affine


def find_pair(
    fixed: Image, moving: Image, *, ratio: float | None = None, progress: Progress | None = None, **options: Any
) -> PreparedPair:
    """As `correlight.output.pair.prepare_pair`, and, where that finds no place that stands out, by registration.

    Matching knows little rotation and few ratios, and is misled by what only one image shows. The usual search knows
    every pose and judges what it finds; it is believed where it is accepted.

    Parameters
    ----------
    fixed, moving, ratio, progress, **options
        As for `prepare_pair`.

    Raises
    ------
    UsageError
        As `prepare_pair` does.
    """
    made = prepare_pair(fixed, moving, ratio=ratio, progress=progress, **options)
    if made:
        return made
    # What the caller states of the scale holds for every search; what files claim, the search judges itself.
    scale = None if ratio is None else (1 / made.tried_ratios[1], 1 / made.tried_ratios[0])
    channels: dict[str, Any] = {name: options.get(name) for name in ("fixed_channel", "moving_channel")}
    limits: dict[str, Any] = {"scale": scale, "seed": options.get("seed", 0)}
    result = register(fixed, moving, model="affine", progress=progress, **limits, **channels)
    made = replace(made, seconds=made.seconds + result.seconds["total"])
    if not result:
        return replace(made, searched=result.status)
    transform = Affine(result.moving_from_fixed.matrix)  # type: ignore[attr-defined]
    values, footprint = cut_out(moving, transform, fixed.grid, made.padding)
    return replace(
        made,
        moving=replace(moving, levels=(values,), grid=fixed.grid, mask=footprint, findings=()),
        moving_from_fixed=transform,
        ratio_found=pixel_size(moving.grid) / pixel_size(fixed.grid) / transform.scale,
        channel=result.moving.channel,
        searched=result.status,
    )
