"""The report in a real browser: every control is moved and the picture must follow."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from correlight.output.report import write_report

pytestmark = pytest.mark.browser


class Viewer:
    """The open report, handled the way a person handles it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.canvas = page.locator("#canvas")

    def pixels(self) -> NDArray[np.int64]:
        """The canvas as ``(Y, X, 4)``, red first."""
        address = self.canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        coded = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
        return cv2.cvtColor(np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)), cv2.COLOR_BGRA2RGBA).astype(np.int64)

    def mode(self, name: str) -> None:
        self.page.get_by_role("radio", name=name).check()

    def press(self, control: str, key: str) -> None:
        self.page.locator(control).focus()
        self.page.keyboard.press(key)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag on the canvas between two places given as fractions of its width and height."""
        box = self.canvas.bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        self.page.mouse.move(*places[1], steps=3)
        self.page.mouse.up()

    def label(self) -> str:
        return str(self.canvas.get_attribute("aria-label"))

    def settled(self, condition: Callable[[], bool]) -> bool:
        """Whether a condition comes true within two seconds, for what the page does in its own time."""
        for _ in range(40):
            if condition():
                return True
            self.page.wait_for_timeout(50)
        return False


@pytest.fixture
def show(browser: Any, tmp_path: Path, case: Callable[..., Any]) -> Iterator[Callable[..., Viewer]]:
    """Opens a report; at the end nothing may have been logged, thrown or asked of the network."""
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: list[str] = []

    def opened(*status: Any, window: dict[str, Any] | None = None, **chosen: Any) -> Viewer:
        made = case(*status, **chosen)
        path = tmp_path / "report.html"
        write_report(path, made.result, made.fixed, made.moving, made.registered, made.footprint)
        context = browser.new_context(offline=True, **(window or {"viewport": {"width": 1200, "height": 900}}))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector('#canvas[aria-busy="false"]')
        return Viewer(page)

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [(tmp_path / "report.html").resolve().as_uri()]


def hue(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How far each pixel is from grey."""
    return np.asarray(np.ptp(pixels[..., :3], axis=2))


# Every control that changes the picture: the mode it belongs to, how to find it and the key that moves it. What would
# hide the effect of another (opacity zero, the zoom) comes last in its mode.
CONTROLS = [
    ("Overlay", "#blend", "ArrowDown"),
    ("Overlay", "#moving-channel", "ArrowDown"),
    ("Overlay", "#moving-colour", "ArrowDown"),
    ("Overlay", "#moving-black", "PageUp"),
    ("Overlay", "#moving-white", "PageDown"),
    ("Overlay", "#moving-invert", "Space"),
    ("Overlay", "#fixed-colour", "ArrowDown"),
    ("Overlay", "#fixed-black", "PageUp"),
    ("Overlay", "#fixed-white", "PageDown"),
    ("Overlay", "#fixed-invert", "Space"),
    ("Overlay", "#show-outline", "Space"),
    ("Overlay", "#show-ignored", "Space"),
    ("Overlay", "#show-error", "Space"),
    ("Overlay", "#zoom-in", "Enter"),
    ("Overlay", "#zoom-out", "Enter"),
    ("Overlay", "#opacity", "Home"),
    ("Swipe", "#divider", "PageUp"),
    ("Checkerboard", "#tile", "PageUp"),
]


def test_every_control_changes_the_picture_by_keyboard(show):
    viewer = show()
    idle = []
    for mode, control, key in CONTROLS:
        viewer.mode(mode)
        before = viewer.pixels()
        viewer.press(control, key)
        if not viewer.settled(lambda seen=before: not np.array_equal(seen, viewer.pixels())):
            idle.append(control)
    assert idle == []


def test_modes_all_differ(show):
    viewer = show()
    pictures = []
    for name in ("Overlay", "Swipe", "Flicker", "Checkerboard", "Side by side"):
        viewer.mode(name)
        pictures.append(viewer.pixels().tobytes())
    assert len(set(pictures)) == 5


def test_opacity_zero_leaves_the_fixed_image_in_grey(show):
    viewer = show()
    assert hue(viewer.pixels()).max() > 100
    viewer.press("#opacity", "Home")
    assert hue(viewer.pixels()).max() == 0


def test_swipe_divides_and_its_divider_can_be_dragged(show):
    viewer = show()
    viewer.mode("Swipe")
    pixels = viewer.pixels()
    middle = pixels.shape[1] // 2
    assert hue(pixels[:, : middle - 2]).max() == 0
    assert hue(pixels[:, middle + 2 :]).max() > 100
    viewer.drag((0.5, 0.5), (0.1, 0.5))
    assert float(viewer.page.locator("#divider").input_value()) == pytest.approx(10, abs=1)
    assert hue(viewer.pixels()[:, int(0.12 * pixels.shape[1]) : middle]).max() > 100
    # Left of the footprint the moving side is empty: the fixed image must not be taken for it.
    viewer.drag((0.1, 0.5), (0.03, 0.5))
    assert np.ptp(viewer.pixels()[200, int(0.05 * pixels.shape[1]) : int(0.08 * pixels.shape[1])], axis=0).max() == 0


def test_flicker_alternates_and_obeys_its_speed(show):
    viewer = show()
    viewer.mode("Flicker")
    viewer.press("#speed", "End")
    fixed = viewer.pixels()
    assert viewer.settled(lambda: not np.array_equal(fixed, viewer.pixels()))
    assert viewer.settled(lambda: np.array_equal(fixed, viewer.pixels()))
    # Counts the changes that the page itself makes in 1.5 s, undisturbed by the speed of this test.
    count = """async () => {
        const canvas = document.getElementById("canvas"); let last = canvas.toDataURL(), changes = 0;
        const end = performance.now() + 1500;
        while (performance.now() < end) {
            await new Promise((done) => setTimeout(done, 40));
            const now = canvas.toDataURL(); if (now !== last) { changes += 1; last = now; }
        }
        return changes; }"""
    fast = viewer.page.evaluate(count)
    viewer.press("#speed", "Home")
    slow = viewer.page.evaluate(count)
    assert slow <= 1 < 4 <= fast
    viewer.mode("Overlay")
    still = viewer.pixels()
    viewer.page.wait_for_timeout(400)
    assert np.array_equal(still, viewer.pixels())


def test_a_field_flickers_against_the_linear_map_and_its_grid_is_drawn(show):
    viewer = show(bent=6.0)
    plain = viewer.pixels()
    viewer.press("#show-grid", "Space")
    assert viewer.settled(lambda: not np.array_equal(plain, viewer.pixels()))
    # Bright lines where the field rests on evidence (left), dark ones where on smoothness.
    drawn = np.abs(viewer.pixels() - plain).sum(axis=2) > 0
    assert 0.02 < drawn[:, : drawn.shape[1] // 2].mean() < 0.5
    label = viewer.page.locator("label", has_text="Deformed grid")
    assert label.inner_text().strip() == "Deformed grid, displacements 2 times as large as they are"
    viewer.press("#show-grid", "Space")
    assert viewer.settled(lambda: np.array_equal(plain, viewer.pixels()))
    viewer.mode("Affine / field")
    viewer.press("#speed", "End")
    seen: set[bytes] = set()

    def flickers() -> bool:
        seen.add(viewer.pixels().tobytes())
        return len(seen) == 2

    assert viewer.settled(flickers)
    before = viewer.pixels()
    viewer.press("#moving-colour", "ArrowDown")
    assert viewer.settled(lambda: not np.array_equal(before, viewer.pixels()))


def test_checkerboard_shows_both_images_in_tiles(show):
    viewer = show()
    viewer.mode("Checkerboard")
    viewer.press("#moving-black", "Home")
    viewer.press("#tile", "Home")
    pixels = viewer.pixels()
    # The stain lies on the nuclei; in tiles it is cut up, so colour and grey alternate along its middle row.
    row = hue(pixels)[round(pixels.shape[0] * 40 / 120)] > 60
    assert np.count_nonzero(np.diff(row.astype(int))) >= 4


def test_wheel_zooms_around_the_pointer_and_the_scale_bar_follows(show):
    viewer = show()
    assert viewer.label().endswith("scale bar 500 nm")
    box = viewer.canvas.bounding_box()
    viewer.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    level = viewer.page.locator("#zoom-level").inner_text()
    before = viewer.pixels()
    viewer.page.mouse.wheel(0, -800)
    assert viewer.settled(lambda: viewer.page.locator("#zoom-level").inner_text() != level)
    after = viewer.pixels()
    place = round(0.4 * before.shape[0]), round(0.3 * before.shape[1])
    assert np.abs(after[place] - before[place]).max() < 40
    assert not np.array_equal(before, after)
    assert viewer.label().endswith("scale bar 100 nm")
    viewer.page.locator("#fit").click()
    assert np.array_equal(before, viewer.pixels())


def test_drag_pans_by_the_distance_dragged(show):
    viewer = show()
    before = viewer.pixels()
    box = viewer.canvas.bounding_box()
    viewer.drag((0.5, 0.5), (0.5 + 60 / box["width"], 0.5 + 40 / box["height"]))
    after = viewer.pixels()
    part = after[200:360, 300:500], before[160:320, 240:440]
    assert part[0].std() > 5
    assert np.abs(part[0] - part[1]).mean() < 1
    viewer.canvas.focus()
    viewer.page.keyboard.press("0")
    assert np.array_equal(before, viewer.pixels())
    viewer.page.keyboard.press("ArrowRight")
    assert not np.array_equal(before, viewer.pixels())


def test_nothing_is_drawn_where_the_moving_image_does_not_reach(show):
    viewer = show()
    viewer.press("#moving-invert", "Space")
    pixels = viewer.pixels()
    colour = hue(pixels)
    left = round(pixels.shape[1] * 12 / 160)
    assert np.median(colour[100:-100, :left]) == 0
    assert np.median(colour[100:-100, left + 40 :]) > 40


def test_error_legend_appears_with_its_layer(show):
    viewer = show()
    legend = viewer.page.locator("#error-legend")
    assert not legend.is_visible()
    viewer.press("#show-error", "Space")
    assert legend.is_visible()
    assert legend.inner_text().split() == ["Predicted", "error", "20.4", "nm", "40", "nm"]


def saved(viewer: Viewer, folder: Path) -> tuple[str, NDArray[np.int64]]:
    """The name and the pixels of the view that is saved."""
    with viewer.page.expect_download() as waiting:
        viewer.page.locator("#save").click()
    waiting.value.save_as(folder / "view.png")
    coded = np.asarray(cv2.imread(str(folder / "view.png"), cv2.IMREAD_UNCHANGED))
    return waiting.value.suggested_filename, cv2.cvtColor(coded, cv2.COLOR_BGRA2RGBA).astype(np.int64)


def test_view_is_saved_as_it_is_seen_without_margins_under_the_names_of_both_images(show, tmp_path):
    viewer = show()
    name, picture = saved(viewer, tmp_path)
    assert name == "stain_on_section_overlay.png"
    screen = viewer.pixels()
    edge = [(there - here) // 2 for there, here in zip(screen.shape[:2], picture.shape[:2], strict=True)]
    assert min(edge) > 0
    half = picture.shape[0] // 2
    # What is drawn lies to less than a pixel otherwise.
    apart = picture[:half] - screen[edge[0] : edge[0] + half, edge[1] : edge[1] + picture.shape[1]]
    assert np.abs(apart).mean() < 6


def test_a_saved_view_has_every_pixel_of_the_report_however_small_it_is_on_the_screen(show, tmp_path):
    viewer = show()
    for _ in range(8):
        viewer.press("#zoom-out", "Enter")
    assert saved(viewer, tmp_path)[1].shape == (120, 160, 4)


def test_scale_bar_ends_above_the_data_bar_of_the_instrument(show):
    viewer = show()
    white = (viewer.pixels()[..., :3] == 255).all(axis=-1)
    rows = [row for row, line in enumerate(white) if b"\1" * 60 in line.astype(np.uint8).tobytes()]
    zoom = 0.98 * min(length / pixels for length, pixels in zip(white.shape, (120, 160), strict=True))
    data_bar = (white.shape[0] - 120 * zoom) / 2 + 108 * zoom
    assert 0 < max(rows) < data_bar


def test_several_channels_are_shown_at_once_each_in_its_own_colour(show):
    viewer = show()

    def green() -> int:
        pixels = viewer.pixels()
        return int(np.count_nonzero(pixels[..., 1] > pixels[..., 0] + 60))

    assert green() == 0
    for mode in ("Overlay", "Swipe", "Side by side", "Checkerboard"):
        viewer.mode(mode)
        before = green()
        viewer.page.get_by_role("checkbox", name="membrane").check()
        assert viewer.settled(lambda fewer=before: green() > fewer + 500)
        viewer.page.get_by_role("checkbox", name="membrane").uncheck()
        assert viewer.settled(lambda as_many=before: green() == as_many)
    # The same channel by itself has that colour, too.
    viewer.mode("Overlay")
    viewer.press("#moving-channel", "ArrowDown")
    assert viewer.settled(lambda: green() > 500)
    assert viewer.page.locator("#moving-colour").input_value() == "green"


def test_refused_result_stands_side_by_side_with_two_scale_bars(show):
    viewer = show("refused")
    assert viewer.page.get_by_text("No registered image was made because the result was refused.").is_visible()
    assert not viewer.page.locator("#opacity").is_visible()
    assert not viewer.page.get_by_role("radio", name="Overlay").is_visible()
    assert viewer.label() == "Fixed: section.tif, Moving: stain.tif; mode side; scale bar 1 µm, 50 px"
    before = viewer.pixels()
    viewer.press("#moving-channel", "ArrowDown")
    assert viewer.settled(lambda: not np.array_equal(before, viewer.pixels()))
    changed = np.flatnonzero((before != viewer.pixels()).any(axis=(0, 2)))
    assert changed.min() > before.shape[1] * 0.45


def test_colours_of_a_picture_and_its_single_channels(show):
    viewer = show(rgb=True)
    seen = [viewer.pixels().tobytes()]
    for _ in range(3):
        viewer.press("#moving-channel", "ArrowDown")
        seen.append(viewer.pixels().tobytes())
    assert len(set(seen)) >= 3


def test_many_channels_can_each_be_shown(show):
    viewer = show(channels=tuple(f"label {index}" for index in range(9)))
    seen = set()
    for index in range(9):
        viewer.page.locator("#moving-channel").select_option(str(index))
        assert viewer.settled(lambda: viewer.pixels().tobytes() not in seen)
        seen.add(viewer.pixels().tobytes())
    assert len(seen) == 9


def test_hostile_names_run_nothing(show):
    viewer = show(
        fixed_path="/x/</script><script>document.title='taken'</script>.tif",
        moving_path='"><img src=x onerror="document.title=1">.tif',
        channels=("</select><script>document.title='taken'</script>", "b"),
    )
    assert "taken" not in viewer.page.title().split(".tif")[-1]
    assert viewer.page.title().startswith("Accepted: ")
    assert viewer.page.locator("script").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_needs_no_sideways_scrolling(show, scheme):
    window = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    viewer = show(window=window, fixed_path="/data/" + "very_long_name_" * 12 + ".tif")
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 360
    background = viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = np.mean([int(part) for part in background.strip("rgb()").split(",")])
    assert (light > 200) == (scheme == "light")


def test_without_javascript_the_overlay_is_still_seen(show, browser, tmp_path):
    show()
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert page.get_by_alt_text("Overlay of the moving image in colour").is_visible()
    context.close()
