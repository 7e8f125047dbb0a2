"""A minute of damaged files, always the same ones, as far as the machine gets."""

from pathlib import Path

import pytest

from tests.fuzz.run import Reader, run


@pytest.mark.slow
def test_a_minute_of_mutants_ends_in_images_or_sentences(tmp_path: Path) -> None:
    report = run(1.0, 20, tmp_path / "work", tmp_path / "findings")
    assert [sentence for sentence, _ in report.faults] == []
    assert report.counts["refused"] > 10
    assert report.counts["read"] > 0


def test_a_reader_that_dies_or_sleeps_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox itself: what is wrong with a reader does not pass for a refusal."""
    home = tmp_path / "tests" / "fuzz"
    home.mkdir(parents=True)
    for folder in (home, home.parent):
        (folder / "__init__.py").touch()
    monkeypatch.setattr("tests.fuzz.run.ROOT", tmp_path)
    for body, said in (
        ("import os; input(); os.abort()", "the process ended with -6"),
        ("import time; input(); time.sleep(60)", "no answer within"),
    ):
        (home / "child.py").write_text(body)
        reader = Reader(patience=0.5)
        assert said in reader.outcome("a.tif", tmp_path / "a.tif")
        reader.close()
