"""
Register two images
===================

A fluorescence image is laid onto an electron micrograph of the same cells: from any rotation, mirrored or not.
"""

import matplotlib.pyplot as plt
import numpy as np

from correlight import register
from correlight.simulate import pair

# A small simulated specimen; with files: fixed, moving = read("em.tif"), read("light.tif")
truth = pair("cell", seed=1, electron_shape=(320, 320), light_shape=(224, 224), data_bar=False)
fixed, moving = truth.fixed, truth.moving

result = register(fixed, moving)
print(result)

# %%
# The truth is known here, so the error can be measured: the distance between where the result and the truth lead.

places = fixed.grid.lattice(10)
apart = np.linalg.norm(result.moving_from_fixed(places) - truth.moving_from_fixed(places), axis=1)
print(f"true error {apart.mean():.3g} µm (mean)")

# %%
# Both images, and the overlay that a result folder holds as ``overlay.png``.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
axes[0].imshow(np.asarray(fixed)[0], cmap="gray")
axes[0].set_title("fixed: electron")
axes[1].imshow(np.asarray(moving)[0], cmap="gray")
axes[1].set_title(f"moving: {moving.channels[0]}")
for one in axes[:2]:
    one.set_axis_off()
result.plot(axes[2])
plt.show()
