"""Moving other channels, label images, crops and points with a transform that was found before."""

from __future__ import annotations

from correlight.apply.images import Moved, apply
from correlight.apply.saved import Frames, Saved, read_saved

__all__ = ["Frames", "Moved", "Saved", "apply", "read_saved"]
