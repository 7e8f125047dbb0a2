"""Options at their limits, on sound files of every size and type: a result or one sentence."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from correlight import cli
from correlight.cli import apply, convert, features, landmarks, pair, register
from correlight.errors import CorrelightError, UsageError
from correlight.output.asked import box, grid_choice, interval, position, positive, spacings
from tests.command_options import keywords
from tests.fuzz.options import OPTIONS, case, wrong

pieces = st.sampled_from([*"0123456789.,eE+-", "..", "1", "300", " ", "nan", "\u0661", "_"])
texts = st.lists(pieces, max_size=12).map("".join)
MODULES = {
    module.__name__.rpartition(".")[2]: module for module in (apply, convert, features, landmarks, pair, register)
}
NONE, OUT = Path("none.tif"), Path("out")
FILES: dict[str, tuple[tuple[Path, ...], dict[str, Path]]] = {
    "register": ((NONE, NONE), {"output": OUT}),
    "pair": ((NONE, NONE), {"output": OUT}),
    "landmarks": ((Path("none.csv"),), {"fixed": NONE, "moving": NONE, "output": OUT}),
    "features": ((NONE,), {"output": Path("out.tif")}),
    "convert": ((Path("none.tfm"), Path("out.json")), {}),
    "apply": ((Path("none.tfm"), NONE), {"like": NONE, "output": OUT}),
}
INPUTS = {
    "register": ("none.tif", "none.tif", "-o", "out"),
    "pair": ("none.tif", "none.tif", "-o", "out"),
    "landmarks": ("none.csv", "--fixed", "none.tif", "--moving", "none.tif", "-o", "out"),
    "features": ("none.tif", "-o", "out.tif"),
    "convert": ("none.tfm", "out.json"),
    "apply": ("none.tfm", "none.tif", "--like", "none.tif", "-o", "out"),
}


@given(texts)
@example("1e400..1e400")
@example("1" + "0" * 400 + "..2")
def test_an_interval_lies_within_its_limits_or_is_refused(text: str) -> None:
    try:
        found = interval(text, "--scale", (1e-3, 1e3), positive=True)
    except UsageError:
        return
    assert found is not None
    assert 1e-3 <= found[0] <= found[1] <= 1e3


@given(texts)
@example("1e400")
@example(",".join("1" * 4))
def test_what_counts_pixels_or_micrometres_is_finite_or_refused(text: str) -> None:
    readers: list[tuple[Callable[[str], object], float, float]] = [
        (lambda given: spacings(given, "--fixed-spacing"), 1e-6, 1e5),
        (lambda given: position(given, "--fixed-origin"), -math.inf, math.inf),
        (lambda given: box(given, "--roi"), 0, 1e9),
        (lambda given: grid_choice(given, "--grid"), 0, math.inf),
    ]
    for reader, least, most in readers:
        try:
            found = reader(text)
        except UsageError:
            continue
        if not isinstance(found, str):
            values = np.atleast_1d(np.asarray(found, float))
            assert np.isfinite(values).all()
            assert ((least <= values) & (values <= most)).all()


@given(st.floats())
def test_a_pixel_size_is_one_of_a_microscope_or_refused(value: float) -> None:
    if 1e-6 <= value <= 1e5:
        positive(value, "--spacing")
    else:
        with pytest.raises(UsageError, match="--spacing expects"):
            positive(value, "--spacing")


def test_every_option_is_tried() -> None:
    """Options that are added to a command have to be added here."""
    given = {"output", "overwrite", "like"}
    for name in OPTIONS:
        command = command_of(name)
        there = keywords(command) - given
        if name == "landmarks":
            there -= {"fixed", "moving"}
        tried = {option.removeprefix("--").replace("-", "_") for option in OPTIONS[name]}
        assert there == tried - {"no_mirror"}, name


def command_of(name: str) -> Callable[..., int]:
    """The function behind a command."""
    return getattr(MODULES[name], name)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_value_that_is_text_is_refused_by_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an image no value leads to a result; numbers and choices are checked by cyclopts before."""
    monkeypatch.chdir(tmp_path)
    command, inputs = command_of(name), FILES[name]
    texts_only = {key for key, one in inspect.signature(command).parameters.items() if "str" in str(one.annotation)}
    tried = 0
    for option, values in OPTIONS[name].items():
        key = option.removeprefix("--").replace("-", "_")
        for value in values if key in texts_only else ():
            with pytest.raises(CorrelightError) as caught:
                command(*inputs[0], **inputs[1], **{key: value})
            assert "\n" not in str(caught.value)
            tried += 1
    assert tried or name == "apply"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", OPTIONS)
def test_values_without_an_image_are_one_sentence(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for option, values in OPTIONS[command].items():
        value = str(rng.choice(values))
        words = [option] if values == ("",) else [option, value]
        code = cli.main([command, *INPUTS[command], *words])
        assert (code, wrong(code, capsys.readouterr().err, tmp_path)) == (2, []), words


@pytest.mark.parametrize("number", range(16))
def test_the_whole_road_ends_in_a_result_or_one_sentence(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The long version is ``python -m tests.fuzz --options``."""
    monkeypatch.chdir(tmp_path)
    one = case(np.random.default_rng([1, number]), tmp_path, 6_000, ("apply", "landmarks", "convert"))
    code = cli.main(one.words)
    assert wrong(code, capsys.readouterr().err, tmp_path) == [], one.words
