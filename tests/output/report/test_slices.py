"""The report of stacks: one leafs through slices of both, in every direction, on a wide and on a narrow screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.images.image import Image
from correlight.output.folder import write_result
from correlight.output.report.slices import slice_viewer
from correlight.registration.stack import as_stacks
from correlight.transforms import Affine
from tests.stack_and_section import known, stack_and_section, stack_from_section

SHIFT = Affine.of(np.eye(3), (0.0, 1.0, -1.0))


@pytest.fixture(scope="module")
def stacks() -> tuple[Image, Image]:
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 60, (1, 24, 40, 50)).astype(np.uint8)
    bright = dark.copy()
    bright[:, 10:14, 15:25, 20:30] = 255
    return tuple(Image.from_array(one, spacing=(0.5, 0.5, 0.5)) for one in (dark, bright))  # type: ignore[return-value]


def test_slices_lie_across_every_axis_and_begin_in_the_middle(stacks: tuple[Image, Image]) -> None:
    shown = slice_viewer(*stacks, SHIFT, (0, 0))
    assert [view["title"] for view in shown["views"]] == ["across z", "across y", "across x"]
    for view in shown["views"]:
        count = len(view["places"])
        assert len(view["fixed"]) == len(view["moving"]) == count <= 18
        assert 0.3 * count < view["start"] < 0.7 * count
        assert (view["unit_per_pixel"], view["symbol"]) == (0.5, "µm")
    assert shown["views"][0]["places"][0] == "0 nm"
    assert (shown["views"][0]["width"], shown["views"][0]["height"]) == (50, 40)


def test_a_section_is_shown_in_its_own_plane_first() -> None:
    stack, section = stack_and_section(4.0)
    images = as_stacks(section, stack)
    (view,) = slice_viewer(*images, stack_from_section(4.0), (0, 0))["views"]
    assert (view["title"], len(view["fixed"])) == ("the plane of the section", 1)
    back = slice_viewer(*images[::-1], stack_from_section(4.0).inverse(), (0, 0))["views"]
    assert [len(one["fixed"]) > 1 for one in back] == [False, True, True, True]


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 420])
def test_one_leafs_and_swipes_and_nothing_is_wider_than_the_window(
    width: int, browser: Any, stacks: tuple[Image, Image], tmp_path: Path
) -> None:
    write_result(tmp_path, known(*stacks, SHIFT), *stacks, grid="none")
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "report.html").resolve().as_uri())
    page.wait_for_selector('#slices[aria-busy="false"]')
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    def seen(number: int) -> str:
        return str(page.evaluate(f"document.getElementById('slice-{number}').toDataURL()"))

    for number in range(3):
        before = seen(number)
        page.locator(f"#place-{number}").focus()
        page.keyboard.press("End")
        page.wait_for_function(
            "([id, before]) => document.getElementById(id).toDataURL() !== before", arg=[f"slice-{number}", before]
        )
    assert page.locator("#where-0").inner_text() == "11.5 µm"
    before = seen(0)
    page.get_by_role("radio", name="Swipe").check()
    page.wait_for_function("before => document.getElementById('slice-0').toDataURL() !== before", arg=before)
    before = seen(0)
    page.locator("#divider").focus()
    page.keyboard.press("Home")
    page.wait_for_function("before => document.getElementById('slice-0').toDataURL() !== before", arg=before)
    assert complaints == []
    page.close()


def test_a_refused_result_has_nothing_to_leaf_through(stacks: tuple[Image, Image], tmp_path: Path) -> None:
    write_result(tmp_path, known(*stacks, SHIFT, "refused"), *stacks, grid="none")
    assert "viewer-data" not in (tmp_path / "report.html").read_text(encoding="utf-8")
