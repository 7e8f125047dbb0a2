"""Search: position, orientation and scale of one image in the other, without a start."""
