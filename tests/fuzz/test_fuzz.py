"""A minute of damaged files, always the same ones, as far as the machine gets."""

from pathlib import Path

import pytest

from fuzz.run import Reader, run


@pytest.mark.slow
def test_a_minute_of_mutants_ends_in_images_or_sentences(tmp_path: Path) -> None:
    report = run(1.0, 20, tmp_path / "work", tmp_path / "findings")
    assert [sentence for sentence, _ in report.faults] == []
    assert report.counts["refused"] > 10
    assert report.counts["read"] > 0


def test_a_reader_that_dies_or_sleeps_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox itself: what is wrong with a reader does not pass for a refusal."""
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "fuzz" / "__init__.py").touch()
    monkeypatch.setattr("fuzz.run.TESTS", tmp_path)
    for body, said in (
        ("import os; input(); os.abort()", "the process ended with -6"),
        ("import time; input(); time.sleep(60)", "no answer within"),
    ):
        (tmp_path / "fuzz" / "child.py").write_text(body)
        reader = Reader(patience=0.5)
        assert said in reader.outcome("a.tif", tmp_path / "a.tif")
        reader.close()
