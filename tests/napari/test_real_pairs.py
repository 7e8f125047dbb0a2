"""From two real files to a saved overlay by clicks and keys, as docs/napari.md describes it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.transforms import Affine

from .conftest import Opened, Ticks, pixels, press_key

Open = Callable[..., Opened]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepclem-demo", "brain-pd-t1"])
def test_two_files_become_a_saved_overlay(
    opened: Open, data: Path, pairs: dict[str, dict[str, Any]], name: str, tmp_path: Path
) -> None:
    pair = pairs[name]
    truth = Affine(np.vstack([pair["moving_from_fixed_px_yx"], [0, 0, 1]]))
    it = opened(images=False, show=True)
    for role in ("fixed", "moving"):
        it.viewer.open(str(data / pair[role]), plugin="correlight")
    fixed, moving = it.viewer.layers
    assert (it.panel.fixed.value, it.panel.moving.value) == (fixed, moving)
    # A quarter of the circle, so that it takes little time.
    middle = (truth.rotation + 180) % 360 - 180
    it.panel.rotation.value = f"{middle - 45:.0f}, {middle + 45:.0f}"
    it.panel.mirror.value = truth.mirrored
    before, threads = pixels(it.viewer).astype(int), threading.active_count()
    ticks = Ticks()
    it.click(it.panel.start)
    it.wait()
    ticks.check()
    assert it.panel.view is not None, it.panel.message.value
    assert it.panel.view.outcome.result.status == "accepted", it.panel.verdict.value
    # The moving layer lies where the truth lays it, to a few pixels.
    places = np.stack(np.meshgrid(*(np.linspace(0.2, 0.8, 4) * n for n in fixed.data.shape[:2]), indexing="ij"), -1)
    there = truth(places.reshape(-1, 2))
    found = np.array([moving.world_to_data(fixed.data_to_world(place)) for place in places.reshape(-1, 2)])
    assert np.linalg.norm(found - there, axis=1).mean() < 3 * pair["truth_error_px"]
    drawn = pixels(it.viewer).astype(int)
    assert (np.abs(drawn - before).max(axis=2) > 20).mean() > 0.02
    press_key(it, "C")
    assert (np.abs(pixels(it.viewer).astype(int) - drawn).max(axis=2) > 10).mean() > 0.01
    press_key(it, "C")
    it.panel.folder.value = tmp_path / "result"
    it.click(it.panel.save)
    it.wait()
    assert (tmp_path / "result" / "registered.ome.tif").is_file(), it.panel.message.value
    it.viewer.open(str(tmp_path / "result"), plugin="correlight")
    assert len(it.viewer.layers) > 2
    it.click(it.panel.undo)
    np.testing.assert_array_equal(moving.affine.affine_matrix, np.eye(3))
    # Threads of the pool wait for more work for a while, but no more than there are of them.
    assert threading.active_count() <= threads + 1
