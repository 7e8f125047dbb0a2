"""The recipe neural-mi, from two images to a result."""

import numpy as np

from correlight.recipes import load
from correlight.registration.register import register
from correlight.simulate import pair


def test_the_recipe_needs_no_training_and_names_its_measure() -> None:
    recipe = load("neural-mi")
    assert recipe.parts["refinement"].settings.model_dump()["measure"] == "neural mutual information"
    assert recipe.parts["appearance"].method == "edges"


def test_it_registers_a_simulated_specimen_from_any_rotation() -> None:
    both = pair(
        "cell",
        3,
        rotation=140.0,
        mirror=False,
        stretch=1.0,
        shear=0.0,
        electron_spacing=0.08,
        light_spacing=0.16,
        electron_shape=(240, 240),
        light_shape=(180, 180),
        least_overlap=0.95,
        data_bar=False,
    )
    result = register(
        both.fixed, both.moving, "neural-mi", model="similarity", moving_channel="reflected", mirror=False
    )
    points = both.fixed.grid.lattice(8)
    apart = np.linalg.norm(result.moving_from_fixed(points) - both.moving_from_fixed(points), axis=1)
    # One and a half pixels of the electron image, three quarters of one of the light image.
    assert float(apart.mean()) < 0.12
    assert result.recipe == "neural-mi"
    assert result.status == "accepted"
