"""Appearance: what makes two images of one specimen look alike although two instruments took them."""
