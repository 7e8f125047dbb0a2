"""What to try next where a result is not accepted, the most specific first."""

from __future__ import annotations

from collections.abc import Iterator

from correlight.images.image import Image
from correlight.methods.protocols import Dimension
from correlight.registration.options import Options
from correlight.registration.result import Advice, Result

# More than so many would not be read.
_MOST = 5
_WITHOUT_LEARNED_FEATURES = ("mutual-information", "classical")


def advice_for(
    result: Result,
    asked: Options,
    dimension: Dimension,
    images: tuple[Image, Image],
    channels: tuple[int | str | None, int | str | None],
) -> tuple[Advice, ...]:
    """What may help: nothing for what is accepted.

    Parameters
    ----------
    result : Result
        As it was judged.
    asked : Options
        The limits that the caller set.
    dimension : {"2-D", "3-D", "section in stack"}
        Of the two images.
    images : (Image, Image)
        Fixed and moving.
    channels : (int, str or None, int, str or None)
        Those that the caller named.
    """
    if result.status == "accepted":
        return ()
    found = [*_about_poses(result), *_about_limits(result, asked, dimension)]
    found += [*_about_images(result, images, channels), *_about_recipe(result), *_by_hand(dimension)]
    return tuple(found[:_MOST])


def _about_poses(result: Result) -> Iterator[Advice]:
    against = {one.name for one in result.verdict.evidence if not one.favours}
    if "Rivals with less in common" in against:
        said = "If the specimen is symmetric, limit the search by what is known: mirrored or not, a range of rotations."
        yield Advice("limits", said)
    if "Margin over rivals" in against and len(result.poses) > 1:
        yield Advice("pose", "Compare the poses in the report; if another one is right, ask for it by its number.")
    elif result.status == "doubtful":
        yield Advice("look", "Look at the overlay: if structures of both images coincide everywhere, it can be used.")


def _about_limits(result: Result, asked: Options, dimension: Dimension) -> Iterator[Advice]:
    limits = {"rotation": asked.rotation, "scale": asked.scale, "stretch": asked.stretch, "start": asked.start}
    names = [name for name, value in limits.items() if value is not None]
    if not asked.mirror:
        names.append("mirror")
    if names:
        yield Advice("limits", f"Widen or leave out the limits of the search ({', '.join(names)}), or check them.")
    if dimension == "2-D" and result.scale_claimed is None and asked.scale is None:
        missing = [role for role, one in (("fixed", result.fixed), ("moving", result.moving)) if one.unit == "pixel"]
        sizes = "pixel sizes of both images" if len(missing) == 2 else f"pixel size of the {missing[0]} image"
        yield Advice("spacing", f"Give the {sizes}, or a range for the scale: fewer wrong poses are then possible.")


def _about_images(
    result: Result, images: tuple[Image, Image], channels: tuple[int | str | None, int | str | None]
) -> Iterator[Advice]:
    several = [
        role
        for role, image, name in zip(("fixed", "moving"), images, channels, strict=True)
        if name is None and len(image.usable_channels) > 1
    ]
    if several:
        which = " and of the ".join(several)
        yield Advice("channel", f"Name the channel of the {which} image that shows what both show.")
    if result.status == "refused" and not any(image.mask is not None for image in images):
        yield Advice("mask", "Exclude by a mask what only one image shows, such as holders, text or charged areas.")


def _about_recipe(result: Result) -> Iterator[Advice]:
    unusual = [one for one in result.verdict.evidence if one.name == "Out-of-distribution score" and not one.favours]
    if unusual and result.recipe not in _WITHOUT_LEARNED_FEATURES:
        others = " or ".join(_WITHOUT_LEARNED_FEATURES)
        yield Advice("recipe", f"Try a recipe that compares without learned features: {others}.")
    elif result.recipe != "auto":
        yield Advice("recipe", "Try the recipe auto, which searches every rotation, mirror, scale and shift.")


def _by_hand(dimension: Dimension) -> Iterator[Advice]:
    if dimension == "2-D":
        yield Advice("start", "Give one or two landmarks, or an approximate transform, to start from.")
        yield Advice("landmarks", "Set landmarks by hand: three pairs make a result, and its error is predicted.")
    else:
        yield Advice("start", "Give an approximate transform to start from, such as one fitted to four landmarks.")
