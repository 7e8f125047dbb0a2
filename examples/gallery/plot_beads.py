"""
Beads in both images
====================

Beads that only half agree: 40 in each image, 24 of them common, from any pose, at a scale that is not known.
"""

import matplotlib.pyplot as plt
import numpy as np

from correlight import Image, register
from correlight.simulate.bead_images import electron_image, fluorescence_image
from correlight.simulate.beads import bead_pair

rng = np.random.default_rng(0)
truth = bead_pair(seed=4, beads=40, common=0.6, noise=0.0, shape=(256, 256), least_distance=0.5)
fixed = Image((electron_image(truth.fixed, truth.fixed_grid, rng)[None],), truth.fixed_grid, ("electrons",))
moving = Image((fluorescence_image(truth.moving, truth.moving_grid, rng)[None],), truth.moving_grid, ("beads",))

result = register(fixed, moving, "fiducials")
print(result)
for reason in result.verdict.reasons:
    print("-", reason)

# %%
# Where the beads of the light image come to lie on the electron image.

spots = result.moving_from_fixed.inverse()(truth.moving)
height, width = fixed.grid.extent
figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
axes[0].imshow(np.asarray(moving)[0], cmap="magma")
axes[0].set_title("light")
axes[1].imshow(np.asarray(fixed)[0], cmap="gray", extent=(0, width, height, 0))
inside = fixed.grid.contains(spots)
axes[1].plot(spots[inside, 1], spots[inside, 0], "o", mfc="none", mec="magenta", markersize=12)
axes[1].set_title("electrons, beads of the light image")
for one in axes:
    one.set_axis_off()
plt.show()
