"""Stacks that are not what they seem are named before anything is searched in them."""

import numpy as np
import pytest

from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.registration.stack import as_stacks, checked_stack, defects, one_slice


def stack(slices: int = 24, spacing: tuple[float, ...] | None = (0.3, 0.2, 0.2)) -> Image:
    """A picture that drifts slowly from slice to slice."""
    y, x = np.indices((60, 70))
    rng = np.random.default_rng(0)
    pixels = [100 + 50 * np.sin((x + 2 * z) / 9) + 30 * np.cos(y / 7 + z / 20) for z in range(slices)]
    return Image.from_array((np.array(pixels) + rng.normal(0, 2, (slices, 60, 70)))[None].astype(np.float32), spacing)


def changed(image: Image, change: object) -> Image:
    pixels = np.array(image.levels[0])
    return Image.from_array(change(pixels), image.grid.spacing)  # type: ignore[operator]


def test_a_sound_stack_is_left_alone() -> None:
    sound = stack()
    assert checked_stack("fixed", sound) is sound
    assert defects(sound) == ([], [], [])


def test_empty_and_doubled_slices_are_found_and_ignored() -> None:
    def spoil(pixels: np.ndarray) -> np.ndarray:
        pixels[:, 7] = 0
        pixels[:, 15] = pixels[:, 14]
        return pixels

    checked = checked_stack("fixed", changed(stack(), spoil))
    assert checked.findings[0] == "slice 7 is empty and ignored"
    assert checked.findings[1] == "slice 15 is the same as the one before and ignored"
    assert [index for index in range(24) if not checked.valid()[index].any()] == [7, 15]


def test_missing_slices_are_found_where_the_picture_jumps() -> None:
    gap = changed(stack(30), lambda pixels: np.delete(pixels, [10, 11, 12, 13, 14], axis=1))
    assert defects(gap) == ([], [], [9])
    assert "missing after slice 9" in checked_stack("moving", gap).findings[0]


def test_one_odd_slice_is_no_gap() -> None:
    def spoil(pixels: np.ndarray) -> np.ndarray:
        pixels[:, 12] += 60
        return pixels

    assert defects(changed(stack(), spoil))[2] == []


def test_a_stack_without_voxel_size_is_refused() -> None:
    with pytest.raises(UsageError, match=r"moving stack states no voxel size; give it \(z, y, x, in micrometres\)"):
        checked_stack("moving", stack(spacing=None))


@pytest.mark.parametrize("depth", [60.0, 0.0001])
def test_an_absurd_distance_of_slices_is_refused(depth: float) -> None:
    with pytest.raises(
        UsageError, match=r"fixed stack states voxels of .* where one side is .* give the right size \(z, y, x\)"
    ):
        checked_stack("fixed", stack(spacing=(depth, 0.2, 0.2)))


def test_a_stack_of_copies_is_refused() -> None:
    with pytest.raises(UsageError, match="no two slices that differ"):
        checked_stack("fixed", changed(stack(), lambda pixels: np.repeat(pixels[:, :1], 24, axis=1)))


def test_a_section_becomes_one_slice() -> None:
    section = Image.from_array(np.zeros((40, 50), np.uint8), spacing=0.1)
    alone = one_slice(section, 0.05)
    assert alone.grid.shape == (1, 40, 50)
    assert alone.grid.spacing == (0.05, 0.1, 0.1)
    fixed, moving = as_stacks(section, stack())
    assert fixed.grid.spacing == (0.3, 0.1, 0.1)
    assert moving.ndim == 3
