"""Training from files: a table of pairs in, the folder of a model and its report out."""
