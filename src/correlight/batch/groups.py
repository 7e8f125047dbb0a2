"""Rows of a group share rotation, mirroring and scale, as pairs of one transfer between two microscopes do.

The rotation between the instruments stays the same for all images of one transfer. The first pair of a group that is
trusted on its own says where the others are looked for; the order is that of their names, so that neither the table nor
the machine decides which one it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from correlight.output.from_files import Asked

if TYPE_CHECKING:
    from correlight.images.image import Image
    from correlight.registration.result import Result

# How far rows of one group may differ: degrees, and relative scale. Sections are stretched and laid down anew.
_ROTATION, _SCALE = 10.0, 0.1
# Options that say where to look; a row that states one of them is not told otherwise.
_OWN = "start", "rotation", "scale", "pose"


@dataclass(frozen=True, slots=True)
class Shared:
    """What the rows of a group share.

    Parameters
    ----------
    reference : str
        Folder of the row that it was found from.
    name : str
        What that row is called.
    rotation : float
        Degrees, as `Affine.similarity` counts them.
    mirrored : bool
        Whether the moving image is mirrored.
    scale : float
        Moving pixels per fixed pixel, relative to what the files state where they do.
    calibrated : bool
        Whether they do.
    """

    reference: str
    name: str
    rotation: float
    mirrored: bool
    scale: float
    calibrated: bool

    def to_json(self) -> dict[str, Any]:
        """As it stands in the record of a row."""
        return asdict(self)


def shared_by(reference: str, name: str, result: Result) -> Shared | None:
    """What a trusted result says of its group; None of stacks, whose searches know no such limits."""
    pose = result.poses[0].linear
    if pose.ndim != 2:
        return None
    claimed = result.scale_claimed
    # Rounded, so that the last digits of a machine do not decide what another one searches.
    scale = float(f"{result.scale_found / (claimed or 1.0):.4g}")
    return Shared(reference, name, round(pose.rotation, 1), pose.mirrored, scale, claimed is not None)


def limits_of(shared: Shared, asked: Asked, fixed: Image, moving: Image) -> dict[str, Any]:
    """The options of `correlight.register` that keep a row near its group; empty where it must not be told.

    Parameters
    ----------
    shared : Shared
        What the group shares.
    asked : Asked
        What the row asks for itself.
    fixed, moving : Image
        Its two images.
    """
    from correlight.recipes import load
    from correlight.registration.options import Methods, dimension_of, heeded
    from correlight.search.limits import claimed_scale

    dimension = dimension_of(fixed, moving)
    own = any(getattr(asked, name) is not None for name in _OWN) or (shared.mirrored and not asked.mirror)
    if dimension != "2-D" or own:
        return {}
    known = heeded(Methods.of(load(asked.recipe)), dimension)
    limits: dict[str, Any] = {"rotation": (_near(shared.rotation) - _ROTATION, _near(shared.rotation) + _ROTATION)}
    claimed = claimed_scale(fixed.grid, moving.grid)
    if (claimed is not None) == shared.calibrated:
        scale = shared.scale * (claimed or 1.0)
        limits["scale"] = (scale / (1 + _SCALE), scale * (1 + _SCALE))
    if not shared.mirrored:
        limits["mirror"] = False
    return {name: value for name, value in limits.items() if name in known}


def disagreement(shared: Shared, result: Result) -> str:
    """How a result departs from its group, in one sentence; empty where it does not."""
    pose = result.poses[0].linear
    if pose.ndim != 2:
        return ""
    told = f"the group, as found from {shared.name}"
    if pose.mirrored != shared.mirrored:
        hands = {True: "mirrored", False: "not mirrored"}
        return f"It is {hands[pose.mirrored]}, and {told}, is {hands[shared.mirrored]}."
    off = _near(pose.rotation - shared.rotation)
    if abs(off) > _ROTATION:
        return f"It is rotated by {_near(pose.rotation):.0f}°, and {told}, by {_near(shared.rotation):.0f}°."
    claimed = result.scale_claimed
    if (claimed is not None) == shared.calibrated:
        ratio = result.scale_found / (claimed or 1.0) / shared.scale
        if not 1 / (1 + _SCALE) <= ratio <= 1 + _SCALE:
            return f"Its scale is {ratio:.2g} times that of {told}."
    return ""


def _near(degrees: float) -> float:
    """The same angle from -180 to 180."""
    return (degrees + 180) % 360 - 180
