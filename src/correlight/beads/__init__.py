"""Beads: finding them, matching them as constellations, and what they say."""
