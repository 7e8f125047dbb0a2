"""Moving other channels, label images, crops and points with a transform that was found before."""

from __future__ import annotations

from correlight.output.apply.images import Moved, apply
from correlight.output.apply.saved import Frames, Saved, read_saved
from correlight.output.apply.session import Applied, AppliedSession, apply_session
from correlight.output.apply.table import Member, holds_session, read_session

__all__ = [
    "Applied",
    "AppliedSession",
    "Frames",
    "Member",
    "Moved",
    "Saved",
    "apply",
    "apply_session",
    "holds_session",
    "read_saved",
    "read_session",
]
