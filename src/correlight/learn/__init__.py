"""Training: what ships as weights is made here, with PyTorch (``pip install "correlight[learn]"``)."""
