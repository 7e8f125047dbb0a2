"""Some hundred damaged files, always the same ones, and as many on every machine."""

from pathlib import Path

import pytest

from tests.fuzz import seeds
from tests.fuzz.run import Reader, run

OF_EACH = 20  # mutants of every kind of file


@pytest.mark.slow
def test_mutants_of_every_kind_of_file_end_in_images_or_sentences(tmp_path: Path) -> None:
    most = OF_EACH * len(seeds.NAMES)
    report = run(seed=20, work=tmp_path / "work", keep=tmp_path / "findings", most=most)
    assert [sentence for sentence, _ in report.faults] == []
    assert report.counts.total() == most
    assert report.counts["refused"] > most / 2
    assert report.counts["read"] > most / 10


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
