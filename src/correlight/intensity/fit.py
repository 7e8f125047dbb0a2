"""What a refinement by images hands to its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field

from correlight.methods.task import Fit
from correlight.refine.choose import Choice
from correlight.refine.elastic import ElasticFit
from correlight.refine.samples import Comparison


@dataclass(frozen=True, eq=False)
class ImageFit(Fit):
    """A transform fitted to what images show.

    Parameters
    ----------
    choice : Choice
        Transform, halves and measure, in the frames of what was compared.
    compared : Comparison
        The two images as they were compared.
    elastic : ElasticFit or None
        The smooth field before the linear map of the choice, in its frames; None without.
    """

    choice: Choice
    compared: Comparison
    elastic: ElasticFit | None = field(default=None, kw_only=True)
