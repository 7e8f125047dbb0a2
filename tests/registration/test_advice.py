"""What is not accepted says what to try next; what is accepted says nothing of the kind."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from correlight.cli.terminal import tell
from correlight.evidence.verdict import Evidence, Verdict
from correlight.images.image import Image
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.registration.advice import advice_for
from correlight.registration.from_landmarks import from_landmarks
from correlight.registration.options import Options
from correlight.registration.register import register

LIMITS: dict[str, Any] = {"rotation": (0.0, 3.0), "scale": (0.95, 1.05), "mirror": False}
RNG = np.random.default_rng(5)
IMAGES = Image.from_array(RNG.random((40, 40))), Image.from_array(RNG.random((2, 40, 40)), channels=["DAPI", "GFP"])
FREE = Options()


@pytest.fixture(scope="module")
def refused():
    return register(*IMAGES, moving_channel="DAPI", **LIMITS)


def topics(result, asked=FREE, images=IMAGES, channels=(None, None), dimension="2-D") -> list[str]:
    return [one.about for one in advice_for(result, asked, dimension, images, channels)]


def test_a_refused_result_says_what_to_try_and_its_record_too(refused) -> None:
    assert refused.status == "refused"
    found = [one.about for one in refused.advice]
    assert "limits" in found
    assert refused.to_json()["advice"] == [one.sentence for one in refused.advice]
    said = next(one.sentence for one in refused.advice if one.about == "limits")
    assert "rotation, scale, mirror" in said


def test_an_accepted_result_needs_no_advice(refused) -> None:
    accepted = replace(refused, verdict=Verdict("accepted", 0.99, ("It fits.",)))
    assert topics(accepted) == []


def test_pixel_sizes_are_asked_for_where_they_are_missing_only(refused) -> None:
    assert "spacing" in topics(refused)
    assert "spacing" not in topics(refused, Options(scale=(0.9, 1.1)))
    assert "spacing" not in topics(replace(refused, scale_claimed=1.0))
    one = replace(refused, fixed=replace(refused.fixed, unit="micrometre"))
    said = next(item.sentence for item in advice_for(one, FREE, "2-D", IMAGES, (None, None)) if item.about == "spacing")
    assert "pixel size of the moving image" in said


def test_a_channel_is_asked_for_where_there_is_a_choice_only(refused) -> None:
    assert "channel" in topics(refused)
    assert "channel" not in topics(refused, channels=(None, "GFP"))
    assert "channel" not in topics(refused, images=(IMAGES[0], IMAGES[0]))


def test_a_rival_leads_to_its_number(refused) -> None:
    rival = Evidence("Margin over rivals", 1.0, 1.15, False, "Another pose fits almost as well.")
    doubtful = replace(refused, verdict=Verdict("doubtful", 0.6, ("?",), (rival,)), poses=refused.poses[:1] * 2)
    assert topics(doubtful)[0] == "pose"
    assert topics(replace(doubtful, verdict=Verdict("doubtful", 0.6, ("?",))))[0] == "look"


def test_the_other_half_of_a_symmetric_specimen_leads_to_limits(refused) -> None:
    half = Evidence("Rivals with less in common", 1.1, 1.25, False, "A pose with less in common fits almost as well.")
    doubtful = replace(refused, verdict=Verdict("doubtful", 0.8, ("?",), (half,)))
    assert topics(doubtful)[:2] == ["limits", "look"]


def test_unusual_images_lead_to_a_recipe_without_learned_features(refused) -> None:
    unusual = Evidence("Out-of-distribution score", 2.0, 1.0, False, "One of the images is unlike the training images.")
    known = replace(refused, scale_claimed=1.0, verdict=Verdict("refused", 0.1, ("?",), (unusual,)))
    said = [one.sentence for one in advice_for(known, FREE, "2-D", IMAGES, (0, 0)) if one.about == "recipe"]
    assert "mutual-information" in said[0]
    usual = replace(known, recipe="descriptor", verdict=Verdict("refused", 0.1, ("?",)))
    assert "recipe" in topics(usual, channels=(0, 0))


def test_stacks_are_not_told_to_set_landmarks(refused) -> None:
    assert "landmarks" not in topics(refused, channels=(0, 0), dimension="3-D")
    assert "start" in topics(refused, channels=(0, 0), dimension="3-D")


def test_landmarks_that_do_not_suffice_lead_to_more() -> None:
    places = np.array([[5.0, 5.0], [5.0, 30.0], [30.0, 5.0], [30.0, 30.0]])
    wrong = places + np.array([[0, 0], [9, 0], [0, -9], [9, 9]])
    table = LandmarkTable(PointTable(tuple("abcd"), places, "pixel"), PointTable(tuple("abcd"), wrong, "pixel"))
    found = from_landmarks(IMAGES[0], IMAGES[0], table, "similarity").result
    assert found.status != "accepted"
    assert [one.about for one in found.advice] == ["landmarks"]


def test_the_terminal_names_the_option(refused, capsys, tmp_path) -> None:
    tell(refused, tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  Next: ")]
    assert len(lines) == len(refused.advice)
    assert any(line.endswith("(--rotation, --scale, --stretch, --start, --no-mirror).") for line in lines)
