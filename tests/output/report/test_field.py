"""What the report says and shows of a map that bends."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.output.report import content, field
from correlight.output.report.volumes import write_volume_report
from correlight.search.pose import Pose
from correlight.transforms import Affine, Displacement
from correlight.transforms.bending import bending
from tests.output.report.conftest import SHAPE
from tests.output.report.test_report import Page, write
from tests.stack_and_section import known


def decoded(address: str) -> NDArray[np.uint8]:
    coded = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8)


def test_lines_lie_where_the_field_leads(case: Any) -> None:
    made = case(bent=6.0)
    moved = field.displacements(made.result, made.fixed.grid, (0, 1)) / made.fixed.grid.spacing[0]
    assert moved[60, 80] == pytest.approx([6.0, 0.0], abs=0.1)
    lines = field.grid_lines(made.result, made.fixed.grid, (0, 1), SHAPE)
    assert float(lines["times"]) == 2.0
    across = [line for kind in ("supported", "smooth") for line in lines[kind] if line[0][1] == line[-1][1]]
    assert across == []
    # The line that began nearest above the middle is drawn twice as far down as the field leads.
    rows = [y for kind in ("supported", "smooth") for line in lines[kind] for x, y in line if abs(x - 80.5) < 0.7]
    levels = np.unique(np.round(rows, 1))
    regular = (np.arange(15 * 6 + 1) + 0.5) / 91 * SHAPE[0]
    column = np.interp(regular, np.arange(SHAPE[0]) + 0.5, moved[:, 80, 0])
    expected = regular + 2 * column
    assert np.abs(levels[:, None] - expected).min(axis=1).max() < 0.3


def test_evidence_and_smoothness_are_drawn_apart(case: Any) -> None:
    made = case(bent=3.0)
    lines = field.grid_lines(made.result, made.fixed.grid, (0, 1), SHAPE)
    supported, smooth = (
        np.array([x for line in lines[kind] for x, _ in line[:-1]]) for kind in ("supported", "smooth")
    )
    # The right half rests on smoothness; a line goes on to the next place after a change.
    assert supported.max() < SHAPE[1] * 0.6
    assert smooth.min() > SHAPE[1] * 0.4


@pytest.mark.parametrize("pixels", [20.0, 3.0, 0.03])
def test_exaggerated_lines_are_seen_and_stay_in_their_order(case: Any, pixels: float) -> None:
    made = case(bent=pixels)
    lines = field.grid_lines(made.result, made.fixed.grid, (0, 1), SHAPE)
    times = float(lines["times"])
    assert lines["size"] == ("as large as they are" if times == 1 else f"{lines['times']} times as large as they are")
    moved = field.displacements(made.result, made.fixed.grid, (0, 1))[..., 0] / made.fixed.grid.spacing[0]
    steepest = np.nanmax(np.abs(np.diff(moved, axis=0)))
    assert times == 1 or times * steepest < 1
    # Some line is moved by more than half of a space of 8 pixels, or could not be without meeting another.
    assert times * pixels > 4 or 2.5 * times * steepest > 0.7


def test_the_report_says_what_was_measured_and_shows_three_maps(case: Any, tmp_path: Path) -> None:
    made = case(bent=6.0)
    page = write(tmp_path / "report.html", made)
    bent = made.result.bending
    assert f"Displacement beyond the linear map, largest {content.length(bent.greatest, 'micrometre')}" in page.text
    assert f"{bent.least_volume:.3g} to {bent.greatest_volume:.3g}: areas change" in page.text
    assert "no folds" in page.text
    assert "Inverse-consistency error, largest" in page.text
    assert "Rests on evidence on 50 % of what both images show" in page.text
    assert "displacements are drawn" in page.text
    shown = [dict(entry)["src"] for tag, entry in page.tags if tag == "img" and "field" not in str(entry.get("class"))]
    assert len([address for address in shown if address and address.startswith("data:image")]) >= 6
    viewer = page.viewer
    straight = decoded(viewer["straight"]["picture"])
    assert straight.shape == SHAPE
    # The linear map alone leaves the stain where the field does not belong.
    bent_one = decoded(viewer["moving"]["pictures"][0])
    assert np.abs(straight.astype(int) - bent_one).max() > 60
    assert viewer["grid"]["supported"]


def test_a_linear_result_has_no_such_section(case: Any, tmp_path: Path) -> None:
    page = write(tmp_path / "report.html", case())
    assert "beyond the linear map" not in page.text
    assert page.viewer["grid"] is None
    assert page.viewer["straight"] is None


def test_a_field_of_unknown_support_says_nothing_of_it(case: Any) -> None:
    made = case(bent=3.0)
    result = replace(made.result, maps={})
    ground = np.zeros((*SHAPE, 3), np.uint8)
    shown = field.describe(result, ground, made.fixed.grid)
    assert [one["title"] for one in shown["figures"]] == ["Deformed grid", "Displacement beyond the linear map"]
    assert not any(name == "Rests on evidence" for name, _ in field.words(result))
    heat = decoded(shown["figures"][1]["picture"])
    assert heat.shape[2] == 4
    assert heat.shape[:2] == (270, 360)
    # Viridis grows from dark to bright: the middle moves most.
    middle, edge = (heat[row, heat.shape[1] // 2, :3].astype(int).sum() for row in (heat.shape[0] // 2, 6))
    assert middle > edge + 100


def test_a_map_that_folds_is_said_to(case: Any) -> None:
    made = case(bent=80.0)
    assert made.result.bending.folds
    said = dict(field.words(made.result))
    assert "it folds" in said["Jacobian determinant"]
    assert said["Inverse-consistency error, largest"] == "no inverse: the map folds somewhere"


def test_the_report_of_stacks_shows_the_field_on_its_planes(tmp_path: Path) -> None:
    grid = Grid.of((12, 30, 40), (0.3, 0.1, 0.1), unit="micrometre")
    rng = np.random.default_rng(0)
    stack = Image.from_array(rng.integers(0, 255, (1, 12, 30, 40)).astype(np.uint8), grid.spacing)
    nodes = grid.resized((7, 9, 11))
    away = (nodes.lattice_of_pixels() - grid.centre) / grid.extent
    moved = 0.3 * np.exp(-(away**2).sum(axis=1) / 0.05)[:, None] * [0.0, 1.0, 0.5]
    move = Affine.identity(3) @ Displacement(moved.reshape(*nodes.shape, 3), nodes)
    result = known(stack, stack, move)
    linear = Pose(Affine.identity(3), 1.0, 0.8)
    share = np.ones(result.predicted_error.grid.shape, np.float32)
    result = replace(
        result,
        poses=(linear,),
        maps={"field_evidence": share},
        bending=bending(move, Affine.identity(3), grid.lattice(9)),
    )
    write_volume_report(tmp_path, result, stack, stack, (0, 0))
    page = Page(tmp_path / "report.html")
    assert "volumes change" in page.text
    assert page.text.count("Deformed grid") == 3
    assert page.text.count("What the field rests on") == 3
    assert "Across z at" in page.text
