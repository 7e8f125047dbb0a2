"""Beads: finding them, matching those of two images by their places, and what they say."""
