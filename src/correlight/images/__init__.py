"""Images, their grids and pyramids, and what is compared of them."""
