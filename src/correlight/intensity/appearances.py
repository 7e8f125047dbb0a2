"""The appearances that come with the package: features that images of unlike instruments have in common."""

from __future__ import annotations

from typing import ClassVar

from correlight.appearance import APPEARANCES, Appearance
from correlight.methods.protocols import Dimension, MethodSettings, Serves


class _Features:
    """Features by their name in `correlight.appearance.APPEARANCES`; nothing to set."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    name: ClassVar[str]

    def __init__(self, settings: MethodSettings) -> None:
        self.appearance: Appearance = APPEARANCES[self.name]

    def serves(self, dimension: Dimension) -> Serves:
        """Any images: of stacks, projections and slabs are compared."""
        return Serves()


class Edges(_Features):
    """Directions and strengths of edges."""

    name = "edges"


class Descriptor(_Features):
    """The learned descriptor."""

    name = "descriptor"


class DescriptorAndEdges(_Features):
    """The learned descriptor, and edges, which are sharper."""

    name = "descriptor and edges"
