"""The descriptor: a small network trained to make two instruments' images of one place alike."""
