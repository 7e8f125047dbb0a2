"""Views of MoBIE."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.errors import ReadError, UsageError
from correlight.exchange import ExchangeContext
from correlight.exchange.mobie import read_mobie, write_mobie
from tests.exchange.vector import MOVING_FROM_FIXED_2D, MOVING_FROM_FIXED_3D, apart

C = 0.8660254037844386
VECTOR = [C, -0.5, 0.0, 3.0, 0.5, C, 0.0, 2.0, 0.0, 0.0, 1.0, 1.0]
SHIFT = [1.0, 0.0, 0.0, 10.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def move(parameters: Any, *sources: Any) -> dict[str, Any]:
    return {"affine": {"name": "manualTransform", "sources": list(sources), "parameters": parameters}}


def view(path: Path, *moves: Any, wrapped: bool = True) -> Path:
    content = {"uiSelectionGroup": "reg", "isExclusive": False, "sourceTransforms": list(moves)}
    path.write_text(json.dumps({"views": {"a": content}} if wrapped else content))
    return path


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_quoted_transform_is_read(wrapped: bool, tmp_path: Path) -> None:
    path = view(tmp_path / "a.json", move(VECTOR, "lm"), wrapped=wrapped)
    assert apart(read_mobie(path), MOVING_FROM_FIXED_3D) < 1e-9
    flat = [*VECTOR[:11], 0.0]
    assert apart(read_mobie(view(path, move(flat, "lm")), ExchangeContext(ndim=2)), MOVING_FROM_FIXED_2D) < 1e-9


def test_moves_act_in_the_order_of_the_list_on_the_sources_they_name(tmp_path: Path) -> None:
    path = view(tmp_path / "a.json", move(VECTOR, "lm", "gfp"), move(SHIFT, "lm"))
    # The moving point at zero goes to (1, 2, 3) and then ten further in x.
    assert np.abs(read_mobie(path, ExchangeContext(name="lm"))([[1.0, 2.0, 13.0]])).max() < 1e-9
    assert np.abs(read_mobie(path, ExchangeContext(name="gfp"))([[1.0, 2.0, 3.0]])).max() < 1e-9
    with pytest.raises(ReadError, match="choose one by its name"):
        read_mobie(path)


def test_a_written_view_has_floats_only_and_names_its_source(tmp_path: Path) -> None:
    write_mobie(tmp_path / "a.json", MOVING_FROM_FIXED_3D, ExchangeContext(name="lm"))
    entry = json.loads((tmp_path / "a.json").read_text())["views"]["correlight"]
    affine = entry["sourceTransforms"][0]["affine"]
    assert affine["sources"] == ["lm"]
    assert all(isinstance(value, float) for value in affine["parameters"])
    assert affine["parameters"] == pytest.approx(VECTOR, abs=1e-12)
    # What its schema of views requires of a display, and nothing that it does not know.
    (display,) = (one["imageDisplay"] for one in entry["sourceDisplays"])
    assert {"color", "contrastLimits", "opacity", "name", "sources"} <= set(display)
    assert set(entry) == {"uiSelectionGroup", "isExclusive", "sourceDisplays", "sourceTransforms"}
    assert (display["sources"], display["contrastLimits"]) == (["lm"], [0.0, 65535.0])
    write_mobie(tmp_path / "a.json", MOVING_FROM_FIXED_3D, ExchangeContext(name="lm", shown=(3, 9)))
    shown = json.loads((tmp_path / "a.json").read_text())["views"]["correlight"]["sourceDisplays"][0]["imageDisplay"]
    assert shown["contrastLimits"] == [3.0, 9.0]
    for name in ("l m", "l\nm", "l\tm", "l\x00m"):
        with pytest.raises(UsageError, match="without blanks"):
            write_mobie(tmp_path / "a.json", MOVING_FROM_FIXED_3D, ExchangeContext(name=name))
    with pytest.raises(UsageError, match="give its name"):
        write_mobie(tmp_path / "a.json", MOVING_FROM_FIXED_3D, ExchangeContext())


@pytest.mark.parametrize(
    "moves",
    [
        [],
        [{"crop": {}}],
        [3],
        [move([1, 2], "lm")],
        [move(VECTOR, 3.0, None)],
        [{"affine": {"sources": 3}}],
        [move(None, "lm")],
        [move([float("nan")] * 12, "lm")],
        [move([0.0] * 12, "lm")],
    ],
)
def test_damaged_views_are_named(moves: list, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"a\.json"):
        read_mobie(view(tmp_path / "a.json", *moves))
