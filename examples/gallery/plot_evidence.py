"""
Why a result is accepted or refused
===================================

Two images of different specimens have nothing in common. The result says so: it is a value like any other, no error.
"""

import matplotlib.pyplot as plt
import numpy as np

from correlight import register
from correlight.simulate import pair

small = {"electron_shape": (176, 176), "light_shape": (128, 128), "rotation": 0, "mirror": False, "data_bar": False}
one, other = pair("cell", seed=1, **small), pair("cell", seed=7, **small)

# Limits of the search, which make the example quick.
limits = {"rotation": (-20, 20), "mirror": False, "stretch": (1, 1), "moving_channel": 0}
together = register(one.fixed, one.moving, **limits)
apart = register(one.fixed, other.moving, **limits)
for result in (together, apart):
    print(result)

# %%
# What to try next is said as well.

for line in apart.advice:
    print(line.sentence)

# %%
# The evidence as a table, and what each pose scored in comparison with its rivals.

print(apart.evidence_table()[["name", "value", "limit", "favours"]].to_string(index=False))

scores = [[pose.score for pose in result.poses] for result in (together, apart)]
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for values, label in zip(scores, ("images of one specimen", "of two specimens"), strict=True):
    axes.plot(np.arange(1, len(values) + 1), np.asarray(values) / values[0], "o-", label=label)
axes.set(xlabel="rank of the pose", ylabel="score over that of the best", ylim=(0, 1.05))
axes.legend()
plt.show()
