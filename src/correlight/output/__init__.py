"""What is written: the result folder, the report, moved images and points, converted transforms."""
