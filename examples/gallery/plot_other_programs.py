"""
Hand a transform to other programs
==================================

A transform becomes a file of ITK or a matrix, and is read back from it. ``correlight convert`` writes those of elastix,
BigWarp, MoBIE, eC-CLEM and others.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from correlight import read_transform, write_transform
from correlight.simulate import pair

truth = pair("cell", seed=1, electron_shape=(256, 256), light_shape=(192, 192), data_bar=False)
fixed, moving, transform = truth.fixed, truth.moving, truth.moving_from_fixed

folder = Path(tempfile.mkdtemp())
for name in ("moving_from_fixed.tfm", "matrix.json"):
    write_transform(folder / name, transform)
    again = read_transform(folder / name)
    print(name, "leads to the same places:", np.allclose(again([[1.0, 2.0]]), transform([[1.0, 2.0]])))

# %%
# ITK counts x first, and goes from fixed to moving, as this package does.

print((folder / "moving_from_fixed.tfm").read_text())

# %%
# Transforms are functions: they can be called, inverted and joined. Here the corners of the electron image, in the
# light image.

corners = fixed.grid.corners()[[0, 1, 3, 2, 0]]
there = transform(corners)
height, width = moving.grid.extent
figure, axes = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
axes.imshow(np.asarray(moving)[0], cmap="gray", extent=(0, width, height, 0))
axes.plot(there[:, 1], there[:, 0], color="magenta")
axes.set(title="the field of the electron image", xlabel="x, µm", ylabel="y, µm")
plt.show()
