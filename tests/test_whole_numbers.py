"""No command rounds a number that must be whole."""

from typing import Any, get_args, get_type_hints

import pytest

from correlight import cli
from correlight.cli.options import Part, Parts
from correlight.cli.program import app


def commands() -> list[Any]:
    return [app[name].default_command for name in app if not name.startswith("-")]


def kinds(hint: Any) -> list[Any]:
    """Every type in a hint, those that are annotated as they are."""
    if hasattr(hint, "__metadata__"):
        return [hint] if hint.__origin__ is int else kinds(hint.__origin__)
    return [hint] if not get_args(hint) else [kind for part in get_args(hint) for kind in kinds(part)]


@pytest.mark.parametrize("asked", [*commands(), Part, Parts], ids=lambda asked: asked.__name__)
def test_a_whole_number_is_converted_by_our_own_rule(asked: Any) -> None:
    hints = get_type_hints(asked, include_extras=True)
    hints.pop("return", None)
    assert int not in [kind for hint in hints.values() for kind in kinds(hint)]


@pytest.mark.parametrize("text", ["1.5", "-0.4", "1e3", "", "1_0", "0x10", "9" * 19])
def test_what_is_no_whole_number_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "-o", "out", f"--seed={text}"]) == 2
    said = capsys.readouterr().err
    assert "whole number" in said
    assert said.count("\n") == 1
