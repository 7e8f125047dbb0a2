"""The report and the overlay as files: what they contain, what they must not contain, and their size."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from correlight.errors import UsageError, WriteError
from correlight.evidence.predicted_error import PredictedError
from correlight.images.image import Image
from correlight.output.report import content, draw_overlay, write_picture, write_report
from correlight.transforms import Displacement


class Page(HTMLParser):
    """The text, the tags and the embedded data of a page, as a browser would take it apart."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.scripts: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        (self.scripts if self.inside in ("script", "style") else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def viewer(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(next(part for part in self.scripts if part.lstrip().startswith("{")))
        return loaded


def write(path: Path, case: Any) -> Page:
    write_report(path, case.result, case.fixed, case.moving, case.registered, case.footprint)
    return Page(path)


def picture(address: str) -> np.ndarray:
    head, body = address.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("status", "word"), [("accepted", "Accepted"), ("doubtful", "Doubtful"), ("refused", "Refused")]
)
def test_banner_says_the_verdict_with_confidence_and_reasons(tmp_path, case, status, word):
    made = case(status, reasons=("First reason 12.", "Second reason 34."))
    page = write(tmp_path / "report.html", made)
    assert ("section", {"class": f"verdict {status}", "aria-labelledby": "verdict"}) in page.tags
    for words in (word, f"{made.result.verdict.confidence:.2f} confidence", "First reason 12.", "Second reason 34."):
        assert words in page.text


def test_everything_known_about_the_run_is_in_the_page(tmp_path, case):
    text = write(tmp_path / "report.html", case()).text
    expected = [
        "margin 1.42 1.15 ✓ for The best pose scores 1.42 times its rival.",
        "spread 2.25 4 ✕ against",
        "1 (best) 0.8123 0.0° 1 no 90 %",
        "2 0.4567 90.0° 1 yes 60 %",
        "section.tif 120 × 160 20 nm OME-XML",
        "stain.tif 140 × 180 not stated not stated 20 nm",
        "Scale claimed 1.25 Deviation −20.0 %",
        "root mean square of 30.2 nm at the median place; 95 % of places within 55.2 nm",
        "rigid. A richer model did not lower the cost.",
        "A data bar of 12 rows at the bottom is ignored.",
        "10.0 % of its pixels",
        "/data/section.tif",
        "5e" * 32,
        "Channel used for registration chromatin All channels chromatin, membrane",
        "Recipe auto Seed 7 Peak memory 321 MB",
        "search 1.50 total 2.25",
        "correlight 9.8.7 numpy 2.0.0",
        "50 0 6 0 50 10 0 0 1",
    ]
    missing = [words for words in expected if words not in text]
    assert not missing


def test_pixel_size_implied_is_the_other_images_times_the_scale(case):
    made = case()
    scaled = dataclasses.replace(made.result, scale_found=4.0, scale_claimed=None)
    described = content.describe(scaled, made.fixed, made.moving, has_registered=True)
    # One fixed pixel of 20 nm spans four moving pixels: 5 nm each. The moving image is uncalibrated: nothing to infer.
    assert [row["found"] for row in described["pixel_sizes"]] == ["—", "5 nm"]
    assert described["scale"]["deviation"] == "—"


HOSTILE = '/tmp/<script>alert("x")</script>&\'"><img src=x onerror=alert(1)>.tif'


def test_hostile_names_stay_text(tmp_path, case):
    made = case(
        fixed_path=HOSTILE,
        moving_path="</script><b>bold</b>.png",
        channels=("</option><i>DAPI", "{{ 7 * 7 }}"),
        reasons=("<u>why</u>",),
    )
    page = write(tmp_path / "report.html", made)
    names = [name for name, _ in page.tags]
    assert names.count("script") == 2
    assert not {"b", "i", "u"} & set(names)
    assert all(not key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert HOSTILE in page.text
    assert "<u>why</u>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert page.viewer["moving"]["layers"][0]["name"] == "</option><i>DAPI"


def test_names_that_are_not_unicode_do_not_stop_the_report(tmp_path, case):
    page = write(tmp_path / "report.html", case(fixed_path="/data/caf\udce9.tif"))
    assert "/data/caf?.tif" in page.text


@pytest.mark.parametrize("status", ["accepted", "refused"])
def test_page_names_no_address_outside_itself(tmp_path, case, status):
    page = write(tmp_path / "report.html", case(status))
    addresses = [
        value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href", "srcset")
    ]
    assert addresses
    assert all(value is not None and value.startswith("data:image/") for value in addresses)
    assert not re.search(r"https?://|url\(|@import|\bfetch\(", page.source)
    policy = next(attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_every_control_has_a_label(tmp_path, case):
    page = write(tmp_path / "report.html", case())
    labelled = {attributes["for"] for tag, attributes in page.tags if tag == "label" and "for" in attributes}
    controls = [
        attributes
        for tag, attributes in page.tags
        if tag in ("input", "select") and attributes.get("type") not in ("radio", "checkbox")
    ]
    assert len(controls) == 13
    assert {attributes["id"] for attributes in controls} == labelled


def test_viewer_holds_every_channel_and_the_layers(tmp_path, case):
    made = case()
    shown = write(tmp_path / "report.html", made).viewer
    assert shown["registered"] is True
    assert [layer["name"] for layer in shown["moving"]["layers"]] == ["chromatin", "membrane"]
    assert shown["fixed"]["unit_per_pixel"] == pytest.approx(0.02)
    assert shown["fixed"]["symbol"] == "µm"
    covered = picture(shown["covered"]) > 127
    assert np.array_equal(covered[:-12], made.footprint[:-12])
    assert not covered[-12:].any()
    stain = picture(shown["moving"]["pictures"][0]).astype(float)
    assert np.corrcoef(stain.ravel(), made.registered[0].ravel())[0, 1] > 0.99
    left = min(x for line in shown["outline"] for x, _ in line)
    assert left == pytest.approx(15.5)
    ignored = picture(shown["fixed"]["ignored"])[..., 3]
    assert not ignored[:107].any()
    assert ignored[109:].all()
    assert (shown["error"]["low"], shown["error"]["high"]) == ("20.4 nm", "40 nm")


def test_refused_result_shows_both_images_and_no_overlay(tmp_path, case):
    made = case("refused")
    page = write(tmp_path / "report.html", made)
    shown = page.viewer
    assert shown["registered"] is False
    assert (shown["moving"]["width"], shown["moving"]["height"]) == (180, 140)
    assert shown["moving"]["symbol"] == "px"
    assert shown["covered"] is None
    assert shown["error"] is None
    assert "No registered image was made because the result was refused." in page.text
    assert "Predicted error, median none given" in page.text


def test_methods_paragraph_states_only_what_was_done(case):
    made = case()
    accepted = content.methods(made.result, has_registered=True)
    assert "a rigid transform" in accepted
    assert "resampled once, with linear interpolation" in accepted
    assert "accepted the result (confidence 0.97)" in accepted
    assert "resampled" not in content.methods(made.result, has_registered=False)
    affine = dataclasses.replace(made.result, model="affine")
    assert "using an affine transform" in content.methods(affine, has_registered=True)
    doubtful = content.methods(case("doubtful", reasons=("Rivals are near.",)).result, has_registered=True)
    assert "doubtful" in doubtful
    assert "Rivals are near." in doubtful
    assert "must be checked by eye" in doubtful
    assert "accepted" not in doubtful
    refused = content.methods(case("refused", reasons=("Nothing agrees.",)).result, has_registered=False)
    assert "refused the result. Nothing agrees. No overlay" in refused
    assert "were registered" not in refused
    assert "predicted registration error" not in refused


def test_unknown_error_and_field_transform_are_said_in_words(tmp_path, case):
    made = case()
    grid = made.result.predicted_error.grid
    unknown = PredictedError(np.full(grid.shape, np.nan, np.float32), grid)
    field = Displacement(np.zeros((*grid.shape, 2)), grid)
    changed = dataclasses.replace(made.result, predicted_error=unknown, moving_from_fixed=field, poses=())
    page = write(tmp_path / "report.html", dataclasses.replace(made, result=changed))
    assert "Predicted error unknown" in page.text
    assert "stored in a file of its own" in page.text
    assert "The search found no pose." in page.text
    assert page.viewer["error"] is None


def test_rgb_picture_keeps_its_colours(tmp_path, case):
    made = case(rgb=True)
    shown = write(tmp_path / "report.html", made).viewer
    assert [layer["pick"] for layer in shown["moving"]["layers"]] == [None, 0, 1, 2]
    assert len(shown["moving"]["pictures"]) == 1
    colours = picture(shown["moving"]["pictures"][0])[..., ::-1]
    # JPEG halves the resolution of colour; a broad spot survives that to within a few grey values.
    assert np.abs(colours.astype(int) - np.moveaxis(made.registered, 0, -1)).mean() < 3


def test_large_noisy_images_with_many_channels_stay_below_the_limit(tmp_path, case):
    rng = np.random.default_rng(0)
    made = case(channels=tuple(f"c{index}" for index in range(12)))
    shape = (1500, 1700)
    noise = rng.integers(0, 255, (1, *shape), dtype=np.uint8)
    fixed = Image.from_array(noise)
    moving = Image.from_array(np.broadcast_to(noise, (12, *shape)), channels=made.moving.channels)
    path = tmp_path / "report.html"
    write_report(path, made.result, fixed, moving, np.broadcast_to(noise, (12, *shape)), None)
    assert path.stat().st_size < 12_000_000
    shown = Page(path).viewer
    assert len(shown["moving"]["pictures"]) == 12
    assert max(shown["fixed"]["width"], shown["fixed"]["height"]) == 1600


def test_overlay_colours_the_stain_where_it_lies(tmp_path, case):
    made = case()
    path = tmp_path / "overlay.png"
    write_picture(path, draw_overlay(made.fixed, made.registered, made.footprint, 0))
    drawn = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).astype(int)
    assert drawn.shape == (120, 160, 3)
    colour = drawn.max(axis=2) - drawn.min(axis=2)
    assert colour[40, 50] > 100
    assert colour[75, 110] > 100
    assert colour[20, 20] == 0
    assert colour[:, :15].max() == 0


def test_overlay_has_a_bar_of_the_length_it_states(tmp_path):
    fixed = Image.from_array(np.full((400, 800), 7, np.uint8), spacing=0.05)
    path = tmp_path / "overlay.png"
    write_picture(path, draw_overlay(fixed, None, None, None))
    drawn = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))[..., 0]
    # 22 % of 800 pixels of 50 nm is 8.8 µm; the next round length below is 5 µm, 100 pixels.
    runs = [len(run) for row in drawn for run in re.findall(b"\xff+", row.tobytes())]
    assert max(runs) == 100


def test_overlay_of_two_dense_images_is_grey_where_they_agree_and_coloured_where_not(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(60, 200, (200, 300), dtype=np.uint8)
    covered = np.ones(grey.shape, bool)
    covered[:, 250:] = False
    moved = np.where(covered, grey, 0).astype(np.uint8)
    moved[50:90, 100:160] = 255 - grey[50:90, 100:160]
    path = tmp_path / "overlay.png"
    write_picture(path, draw_overlay(Image.from_array(grey), moved[None], covered, 0))
    drawn = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).astype(int)
    colour = drawn.max(axis=2) - drawn.min(axis=2)
    assert colour[55:85, 105:155].mean() > 40
    assert colour[:45, :240].mean() < 8
    assert colour[:150, 252:].max() == 0


def test_overlay_leaves_the_data_bar_of_the_instrument_legible(tmp_path):
    grey = np.full((400, 800), 90, np.uint8)
    mask = np.ones(grey.shape, bool)
    mask[360:] = False
    path = tmp_path / "overlay.png"
    light = np.zeros((1, *grey.shape), np.uint8)
    light[:, ::7] = 255
    for registered, footprint in ((None, None), (light, np.ones(grey.shape, bool)), (light, None)):
        fixed = Image.from_array(grey, spacing=0.05, mask=mask)
        write_picture(path, draw_overlay(fixed, registered, footprint, None if registered is None else 0))
        drawn = np.asarray(cv2.imread(str(path)))
        assert len(np.unique(drawn[360:])) == 1
        assert drawn[:360].max() == 255


def test_overlay_of_a_large_uncalibrated_image_is_reduced_and_marked(tmp_path):
    rng = np.random.default_rng(0)
    fixed = Image.from_array(rng.integers(0, 9999, (900, 3200), dtype=np.uint16))
    plain, marked = tmp_path / "plain.png", tmp_path / "marked.png"
    write_picture(plain, draw_overlay(fixed, None, None, None))
    write_picture(marked, draw_overlay(fixed, None, None, None, mark="refused: do not use"))
    small, banner = (np.asarray(cv2.imread(str(path))) for path in (plain, marked))
    assert small.shape[:2] == (450, 1600)
    assert banner.shape[0] > 450
    assert np.array_equal(banner[-450:], small)
    assert banner[:-450].max() == 255


def test_misuse_and_unwritable_places_are_said_in_one_sentence(tmp_path, case):
    made = case()
    with pytest.raises(UsageError, match=r"must have the shape \(2, 120, 160\).*got \(2, 119, 160\)"):
        write_report(tmp_path / "r.html", made.result, made.fixed, made.moving, made.registered[:, 1:], None)
    with pytest.raises(UsageError, match=r"footprint must have the shape \(120, 160\)"):
        write_picture(tmp_path / "o.png", draw_overlay(made.fixed, made.registered, made.footprint[1:], 0))
    volume = Image.from_array(np.zeros((1, 4, 40, 40), np.uint8))
    with pytest.raises(UsageError, match="two axes; got 3"):
        write_picture(tmp_path / "o.png", draw_overlay(volume, None, None, None))
    with pytest.raises(WriteError, match=r"report\.html cannot be written"):
        write_report(tmp_path / "missing" / "report.html", made.result, made.fixed, made.moving, None, None)
    assert not list(tmp_path.iterdir())
