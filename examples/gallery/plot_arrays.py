"""
NumPy arrays, further channels and points
=========================================

Arrays are registered as files are; say how large a pixel is. The transform then moves any other channel and any point.
"""

import matplotlib.pyplot as plt
import numpy as np

from correlight import Image, register
from correlight.simulate import pair

truth = pair("cell", seed=2, electron_shape=(320, 320), light_shape=(224, 224), data_bar=False)
electrons = np.asarray(truth.fixed)[0]
chromatin, reflected, particles = np.asarray(truth.moving)

sizes = {"fixed_spacing": truth.fixed.grid.spacing[0], "moving_spacing": truth.moving.grid.spacing[0]}
result = register(electrons, chromatin, **sizes, scale=(0.2, 0.5))
print(result)

# %%
# A channel that was not registered, on the pixels of the electron image. ``valid_at`` of the outcome would say where
# the light image does not reach; such pixels are 0.

other = Image.from_array(particles, spacing=sizes["moving_spacing"])
moved = np.asarray(result.warp(other))[0]

figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
axes[0].imshow(electrons, cmap="gray")
axes[0].set_title("electrons")
axes[1].imshow(moved, cmap="magma")
axes[1].set_title("particles, on the same pixels")
for one in axes:
    one.set_axis_off()
plt.show()

# %%
# Points, y before x in micrometres: from the electron image to the light image, and back.

places = np.array([[2.0, 3.0], [5.0, 5.0]])
there = result.transform_points(places)
print(there.round(2))
print(result.transform_points(there, to="fixed").round(2))
