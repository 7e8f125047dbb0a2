"""A projective result, for programs that hold affine transforms only."""

from pathlib import Path

import pytest

from correlight.errors import TransformError
from correlight.io import read
from correlight.output.convert import convert
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.transforms import Projective
from tests.known_pair import MOVING_FROM_FIXED, known_result, write_images


def test_the_nearest_affine_transform_is_offered_with_what_it_costs(tmp_path: Path) -> None:
    fixed, moving = (read(path) for path in write_images(tmp_path))
    matrix = MOVING_FROM_FIXED.matrix.copy()
    matrix[2, 0] = 1e-2
    result = known_result(fixed, moving, moving_from_fixed=Projective(matrix))
    with reserve(tmp_path / "out") as folder:
        write_result(folder, result, fixed, moving, grid="none")
    with pytest.raises(TransformError, match=r"comes nearest: in the fixed image the two differ by .* pixels on aver"):
        convert(tmp_path / "out", tmp_path / "a.tfm")
    said = convert(tmp_path / "out", tmp_path / "a.tfm", model="affine").notes
    assert any("pixels on average" in note for note in said)
