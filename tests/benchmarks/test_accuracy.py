"""Rows survive interruptions, runs are made once, and a row says of a result what is true."""

import json
import threading

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy import Conditions, Task, append_row, load_rows, main, measure
from benchmarks.protocol import Pair, draw
from correlight.transforms import Affine
from tests.benchmarks.drawn import truth_of

CONDITIONS = Conditions("near", "auto", 1, 1, "command", threading.Event())

REFUSED = {
    "protocol": "near",
    "recipe": "auto",
    "status": "refused",
    "success": False,
    "failure": None,
    "error_px": 3.0,
    "error_fraction": 0.1,
    "seconds": 1.0,
    "peak_memory_mb": 50.0,
    "doing_nothing_success": False,
    "version": "1",
    "commit": "c",
    "jobs": 1,
    "threads": 2,
}


def _pair(name="noise", pixels=None):
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (120, 140)).astype(np.uint8) if pixels is None else pixels
    return Pair(name, name, picture, picture, Affine.identity(), 0.5)


def _result(matrix, poses):
    """The part of ``result.json`` that a row is made from."""
    return {
        "status": "accepted",
        "confidence": 0.9,
        "evidence": [{"name": "margin", "value": 2.5}, {"name": "overlap", "value": None}],
        "moving_from_fixed": {"type": "affine", "matrix": matrix.tolist()},
        "predicted_error": {"median": 1.5},
        "predicted_places": np.full((4, 5), 2.0).tolist(),
        "poses": [{"matrix": pose.tolist()} for pose in poses],
        "seconds": {"total": 1.0},
    }


def test_a_row_compares_a_result_with_the_truth():
    drawn = draw(_pair(), "free", 2)
    truth = truth_of(drawn)
    wrong = (truth @ Affine.of(np.eye(2), (30.0, 40.0))).matrix
    right = accuracy._judged(drawn, _result(truth.matrix, [wrong, truth.matrix]))
    assert right["success"]
    assert right["error_px"] == pytest.approx(0, abs=1e-9)
    assert right["rank_of_truth"] == 2
    assert right["evidence"] == {"margin": 2.5, "overlap": None}
    assert right["found_pose"]["mirrored"] == truth.mirrored
    assert right["found_pose"]["rotation"] == pytest.approx(truth.rotation)
    far = accuracy._judged(drawn, _result(wrong, [wrong]))
    assert not far["success"]
    assert far["error_px"] == pytest.approx(50)
    assert far["error_fraction"] == pytest.approx(50 / drawn.fixed.shape[1])
    assert far["rank_of_truth"] is None
    assert right["under_bound"] == 1
    assert right["true_over_predicted"] == pytest.approx(0, abs=1e-9)
    assert far["under_bound"] == 0
    assert far["true_over_predicted"] == pytest.approx(25)


def test_what_correlight_refuses_to_read_is_a_failed_run():
    row = measure(Task(0, (_pair(pixels=np.full((120, 140), 7, np.uint8)),), "near"), CONDITIONS)
    assert row["status"] == "failed"
    assert "blank" in row["failure"]
    assert not row["success"]
    assert row["error_px"] is None
    assert 20 < row["peak_memory_mb"] < 2000
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_a_run_that_takes_too_long_is_stopped_and_failed(monkeypatch):
    monkeypatch.setattr(accuracy, "TIME_LIMIT", 0.1)
    row = measure(Task(0, (_pair(),), "near"), CONDITIONS)
    assert row["status"] == "failed"
    assert row["failure"] == "no result within 0 s"
    assert row["seconds"] < 10


def test_rows_are_read_back_and_a_torn_one_is_passed_over(tmp_path):
    file = tmp_path / "rows.jsonl"
    assert load_rows(file) == []
    append_row(file, {"pair": "a", "seed": 0})
    with file.open("a") as rows:
        rows.write('{"pair": "a", "se')
    append_row(file, {"pair": "b", "seed": 1})
    assert load_rows(file) == [{"pair": "a", "seed": 0}, {"pair": "b", "seed": 1}]


def test_runs_that_have_a_row_are_not_made_again(tmp_path, monkeypatch, capsys):
    (tmp_path / "pairs.json").write_text("[]")
    monkeypatch.setattr(accuracy, "load_pairs", lambda data: [_pair("a"), _pair("b")])
    made = []

    def stand_in(task, conditions):
        name = task.pairs[0].name
        made.append((name, task.seed))
        return {**REFUSED, "pair": name, "seed": task.seed, "command": conditions.command}

    monkeypatch.setattr(accuracy, "measure", stand_in)
    call = ["--data", str(tmp_path), "--protocol", "near", "--jobs", "1", "--out", str(tmp_path)]
    assert main([*call, "--seeds", "1"]) == 0
    assert main([*call, "--seeds", "2"]) == 0
    assert made == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    page = (tmp_path / "accuracy-near.md").read_text()
    assert "| **all** | 4 |" in page
    assert str(tmp_path) not in page
    (tmp_path / "accuracy-near.md").unlink()
    assert main(["--table", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "accuracy-near.md").read_text() == page
    assert page in capsys.readouterr().out


def test_an_interruption_keeps_the_rows_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "pairs.json").write_text("[]")
    monkeypatch.setattr(accuracy, "load_pairs", lambda data: [_pair("a")])

    def interrupted(task, conditions):
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "measure", interrupted)
    call = ["--data", str(tmp_path), "--protocol", "near", "--seeds", "3", "--jobs", "1", "--out", str(tmp_path)]
    assert main(call) == 130
    assert "goes on from here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "--data and --protocol are needed"),
        (["--data", "nowhere", "--protocol", "near"], "nowhere holds no pairs.json"),
        (["--data", ".", "--protocol", "near", "--jobs", "0"], "at least 1"),
        (["--data", ".", "--protocol", "unrelated", "--pairs", "a"], "cannot be chosen with unrelated"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(words, sentence, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert sentence in capsys.readouterr().err
