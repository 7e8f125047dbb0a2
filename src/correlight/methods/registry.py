"""Every method by its kind and name; those of other packages come in by the entry point ``correlight.methods``.

An entry is named ``KIND.NAME``, such as ``search.my search``, and points to the class.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from correlight.errors import UsageError

MethodKind = Literal["appearance", "search", "refinement", "evidence"]
METHOD_KINDS: tuple[MethodKind, ...] = get_args(MethodKind)
GROUP = "correlight.methods"

# Where the class of each method is. Modules are loaded when a recipe asks for them.
_BUILT_IN: dict[MethodKind, dict[str, str]] = {
    "appearance": {
        "edges": "correlight.intensity.appearances:Edges",
        "descriptor": "correlight.intensity.appearances:Descriptor",
        "descriptor and edges": "correlight.intensity.appearances:DescriptorAndEdges",
        "predicted": "correlight.intensity.appearances:Predicted",
    },
    "search": {
        "features": "correlight.intensity.search:FeatureSearch",
        "mutual information": "correlight.intensity.search:MutualInformationSearch",
        "patches": "correlight.intensity.search:PatchSearch",
        "beads": "correlight.beads.method:ConstellationSearch",
        "point clouds": "correlight.point_clouds.method:CloudSearch",
    },
    "refinement": {
        "images": "correlight.intensity.refinement:ImageRefinement",
        "beads": "correlight.beads.method:BeadRefinement",
        "beads near the pose": "correlight.beads.with_images:BeadsNearPose",
        "point clouds": "correlight.point_clouds.method:CloudRefinement",
    },
    "evidence": {
        "images": "correlight.intensity.evidence:ImageEvidence",
        "beads": "correlight.beads.method:BeadEvidence",
        "beads and images": "correlight.beads.with_images:BeadAndImageEvidence",
        "point clouds": "correlight.point_clouds.method:CloudEvidence",
    },
}


def names(kind: MethodKind) -> list[str]:
    """The methods of a kind, those of this package first."""
    return [*_BUILT_IN[kind], *sorted(name for name in _added(kind) if name not in _BUILT_IN[kind])]


def method(kind: MethodKind, name: str) -> type[Any]:
    """The class of a method, as `correlight.methods.protocols` describes it.

    Raises
    ------
    UsageError
        If there is none of that name, or the package that offers it cannot be loaded.
    """
    if name in _BUILT_IN[kind]:
        module, _, attribute = _BUILT_IN[kind][name].partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    added = _added(kind)
    if name not in added:
        raise UsageError(f"There is no {kind} method {name!r}; choose {', '.join(names(kind))}.")
    try:
        return added[name].load()  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"The {kind} method {name!r} of another package cannot be loaded ({error}); install that package anew."
        ) from error


def _added(kind: MethodKind) -> dict[str, EntryPoint]:
    prefix = f"{kind}."
    found = [entry for entry in entry_points(group=GROUP) if entry.name.startswith(prefix)]
    return {entry.name.removeprefix(prefix): entry for entry in found}
