"""
Clouds of points
================

Outlines of organelles, segmented in two images, without any known correspondence: coherent point drift lays one cloud
on the other.
"""

import matplotlib.pyplot as plt
import numpy as np

from correlight import Affine
from correlight.point_clouds.fit import fit_clouds

rng = np.random.default_rng(1)
around = np.linspace(0, 2 * np.pi, 30)
outlines = [
    centre + size * np.column_stack([np.sin(around), 1.6 * np.cos(around)])
    for centre, size in zip(rng.uniform(0, 30, (12, 2)), rng.uniform(0.6, 1.8, 12), strict=True)
]
fixed = np.concatenate(outlines)
truth = Affine.similarity(rotation=130.0, scale=1.2, source=(15.0, 15.0), target=(20.0, 25.0))
# The other segmentation misses a part, is noisy, and lists its points in another order.
moving = truth(rng.permutation(fixed)[:270]) + 0.1 * rng.normal(size=(270, 2))

found = fit_clouds(fixed, moving, "similarity")
apart = np.linalg.norm(found.moving_from_fixed(fixed) - truth(fixed), axis=1)
print(f"found: {bool(found)}, off by {apart.mean():.3f} on average")

# %%
# Before and after.

back = found.moving_from_fixed.inverse()(moving)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for one, points, title in zip(axes, (moving, back), ("as segmented", "registered"), strict=True):
    one.plot(fixed[:, 1], fixed[:, 0], ".", color="0.5", label="fixed")
    one.plot(points[:, 1], points[:, 0], ".", color="magenta", markersize=3, label="moving")
    one.set(title=title, aspect="equal")
    one.legend(loc="upper right")
plt.show()
