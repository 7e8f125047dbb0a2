"""Figures: the overlay at full resolution, with scale bar, legend and landmarks, as a picture or as vectors."""
