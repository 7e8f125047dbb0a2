"""Training of networks that predict one microscope's image from another's (see `correlight.predict`)."""
