"""Measurements: accuracy on real pairs, speed against peers. Not tests; figures go to ``benchmarks/results``."""
