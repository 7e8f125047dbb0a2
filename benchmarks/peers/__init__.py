"""Other programs on the same draws as correlight: ``python -m benchmarks.peers``; one file per program.

A peer runs in a process of its own, if need be with a Python of its own (``--python``), which has to have NumPy and
the peer's package but not correlight. Nothing here may therefore import correlight except `benchmarks.peers.run`.
"""
