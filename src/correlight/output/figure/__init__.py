"""Figures: the overlay at full resolution, with scale bar, legend and landmarks, as a picture or as vectors."""

from correlight.output.figure.from_result import figure_of
from correlight.output.figure.overlay import Drawn, Region, draw

__all__ = ["Drawn", "Region", "draw", "figure_of"]
