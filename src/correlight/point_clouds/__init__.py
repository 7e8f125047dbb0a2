"""Clouds of points on organelles: segmentation, coherent point drift, and what they say."""
