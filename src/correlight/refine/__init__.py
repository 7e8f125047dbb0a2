"""Refine: from a pose that is nearly right to a transform that is right to a fraction of a pixel."""
