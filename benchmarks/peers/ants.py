"""ANTs by antspyx: its multi-start search for a start, then its affine registration, both with their defaults.

``affine_initializer`` lays the centres of brightness on each other, tries rotations every 20 degrees over an arc, and
improves each for 10 iterations. The default arc gives starts at -18, 2 and 22 degrees, which is kept where the
protocol turns by 20 at most; under free the whole circle is searched. ``registration`` with "Affine" goes on from
there by Mattes mutual information. The mask of the moving image is given to the registration at every stage; the
initializer takes one of the fixed image only, which has no padding.

Avants et al. 2011, doi:10.1016/j.neuroimage.2010.09.025.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.attempt import Attempt, Task, in_pixels

PACKAGE = "antspyx"
# How far the starts of the default arc reach, in degrees to either side.
DEFAULT_REACH = 20.0
ants: Any = import_module("ants")


def register(task: Task) -> Attempt:
    """A start from many, and the affine registration from there."""
    spacing = (task.spacing, task.spacing)
    fixed, moving = ants.from_numpy(task.fixed), ants.from_numpy(task.moving, spacing=spacing)
    mask = ants.from_numpy(task.moving_mask.astype(np.float32), spacing=spacing)
    with tempfile.TemporaryDirectory() as folder:
        start = str(Path(folder) / "start.mat")
        arc = {} if task.widest_turn <= DEFAULT_REACH else {"radian_fraction": 1.0}
        ants.affine_initializer(fixed, moving, txfn=start, **arc)
        found = ants.registration(
            fixed,
            moving,
            type_of_transform="Affine",
            initial_transform=[start],
            moving_mask=mask,
            mask_all_stages=True,
            outprefix=str(Path(folder) / "found"),
            random_seed=task.seed + 1,
        )
        transform = ants.read_transform(found["fwdtransforms"][0])
        shown = ants.apply_transforms(fixed, mask, found["fwdtransforms"], interpolator="nearestNeighbor")
    # NumPy arrays go to ANTs with their axes as they are, so its first axis is y.
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    origin, down, right = (np.asarray(transform.apply_to_point(tuple(corner))) for corner in corners)
    linear = np.column_stack([down - origin, right - origin])
    # The measure is a cost: minus the mutual information, here where the moving image covers the fixed one.
    cost = ants.image_similarity(fixed, found["warpedmovout"], "MattesMutualInformation", fixed_mask=shown)
    return Attempt(in_pixels(linear, origin, task.spacing), -float(cost))
