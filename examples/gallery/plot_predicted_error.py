"""
How exact the result is at every place
======================================

Landmarks set by hand, the transform that fits them, and the error to expect at every place of the fixed image.
"""

import matplotlib.pyplot as plt
import numpy as np

from correlight import from_landmarks
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.simulate import pair

truth = pair("cell", seed=1, electron_shape=(224, 224), light_shape=(192, 192), data_bar=False)
fixed, moving = truth.fixed, truth.moving

# Six places in one half of the field that somebody clicked in both images, off by a tenth of a micrometre.
rng = np.random.default_rng(0)
everywhere = fixed.grid.lattice(12)
common = everywhere[moving.grid.contains(truth.moving_from_fixed(everywhere))]
places = rng.choice(common[: len(common) // 2], 6, replace=False)
clicked = truth.moving_from_fixed(places) + rng.normal(scale=0.1, size=(6, 2))
names = tuple("ABCDEF")
pairs = LandmarkTable(PointTable(names, places, "micrometre"), PointTable(names, clicked, "micrometre"))

found = from_landmarks(fixed, moving, pairs, "similarity")
result = found.result
print(result)
for reason in result.verdict.reasons:
    print("-", reason)

# %%
# The predicted error is least between the landmarks and grows away from them. Where one more pair would lower it most
# is one of the pieces of evidence.

print(next(one.sentence for one in result.verdict.evidence if one.name == "Next landmark"))

error = result.predicted_error
height, width = fixed.grid.extent
figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
shown = axes.imshow(error.values, extent=(0, width, height, 0), cmap="viridis")
axes.plot(places[:, 1], places[:, 0], "w+", markersize=10)
figure.colorbar(shown, label="predicted error, µm")
axes.set(xlabel="x, µm", ylabel="y, µm")
plt.show()
