"""Recipes: those that ship are sound, and one that is not is refused with its fault."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from correlight.errors import UsageError
from correlight.recipes import load, names


def test_the_shipped_recipes_load_and_carry_their_file_name() -> None:
    assert {"auto", "mutual-information"} <= set(names())
    for name in names():
        assert load(name).name == name
        assert load(name).summary


def test_a_recipe_is_at_most_25_lines() -> None:
    from importlib import resources

    for name in names():
        text = resources.files("correlight.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 25


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load("auto").search.least_overlap = 0.1  # type: ignore[misc]


def test_a_file_is_a_recipe_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nsummary = "s"\n[search]\nengine = "features"\nchannels = "classical"\nscale = [0.9, 1.1]\n'
        '[refine]\nmeasure = "features"\nmodels = ["affine"]\n'
    )
    recipe = load(file)
    assert recipe.search.scale == (0.9, 1.1)
    assert recipe.refine.models == ("affine",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not valid TOML"),
        ('name = "x"\nsummary = "s"', "search"),
        (
            'name = "x"\nsummary = "s"\ncolour = 1\n[search]\nengine = "features"\nchannels = "classical"\n'
            '[refine]\nmeasure = "features"\nmodels = ["affine"]',
            "colour",
        ),
        (
            'name = "x"\nsummary = "s"\n[search]\nengine = "magic"\nchannels = "classical"\n'
            '[refine]\nmeasure = "features"\nmodels = ["affine"]',
            "search.engine",
        ),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        load(file)


def test_an_unknown_recipe_or_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nosuch.*auto"):
        load("nosuch")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "missing.toml")
