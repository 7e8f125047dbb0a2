"""What the tables count."""

from benchmarks.tables import report, summary, table


def _row(pair, seed, status, success, error, **more):
    return {
        "protocol": "free",
        "recipe": "auto",
        "pair": pair,
        "seed": seed,
        "status": status,
        "success": success,
        "error_px": error,
        "error_fraction": None if error is None else error / 200,
        "seconds": 10.0 + seed,
        "peak_memory_mb": 100.0 + seed,
        "doing_nothing_success": seed == 0,
        "command": "python -m benchmarks.accuracy --protocol free",
        "version": "1.2.3",
        "commit": "abc",
        "jobs": 2,
        "threads": 1,
        **more,
    }


ROWS = [
    _row("one", 0, "accepted", True, 1.0),
    _row("one", 1, "accepted", False, 50.0),
    _row("one", 2, "doubtful", True, 3.0),
    _row("one", 3, "refused", False, 90.0),
    _row("two", 0, "accepted", True, 2.0),
    _row("two", 1, "failed", False, None, peak_memory_mb=None),
]


def _cells(text, name):
    """A line of the table by the names of its columns."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    head = next(cells for cells in lines if cells[0] == "pair")
    return dict(zip(head, next(cells for cells in lines if cells[0] == name), strict=True))


def test_a_line_counts_its_own_pair():
    one = _cells(table(ROWS), "one")
    assert one["runs"] == "4"
    assert one["success"] == "50 %"
    assert [one[name] for name in ("accepted", "doubtful", "refused", "failed")] == ["2", "1", "1", "0"]
    assert one["accepted and wrong"] == "1"
    assert one["median seconds"] == "11.5"
    assert one["peak memory, MB"] == "103"
    assert one["success of doing nothing"] == "25 %"


def test_errors_are_given_over_successes_and_over_all():
    one = _cells(table(ROWS), "one")
    assert one["median error, px (successes / all)"] == "2.0 / 26.5"
    assert one["median error, % of width (successes / all)"] == "1.0 / 13.2"


def test_a_run_without_a_result_is_infinitely_far_off():
    two = _cells(table(ROWS), "two")
    assert two["failed"] == "1"
    assert two["median error, px (successes / all)"] == "2.0 / ∞"
    assert two["peak memory, MB"] == "100"


def test_no_success_has_no_median():
    text = table([_row("one", 0, "refused", False, 7.0)])
    assert _cells(text, "one")["median error, px (successes / all)"] == "– / 7.0"


def test_the_last_line_counts_all():
    every = _cells(table(ROWS), "**all**")
    assert (every["runs"], every["accepted"], every["accepted and wrong"]) == ("6", "3", "1")
    assert table(ROWS).splitlines()[-1].startswith("| **all** |")


def test_the_summary_says_how_many_accepted_results_are_right():
    assert summary(ROWS) == "Of 6 runs 3 were accepted; 2 of these (66.7 %) are right."
    assert summary(ROWS[2:4]) == "Of 2 runs none was accepted."


def test_unrelated_images_have_no_error_to_report():
    rows = [_row("a with b", seed, "refused", False, None, protocol="unrelated") for seed in range(2)]
    text = table([*rows, _row("b with a", 2, "accepted", False, None, protocol="unrelated")])
    assert "error" not in text
    assert _cells(text, "**all**")["accepted"] == "1"
    assert _cells(text, "a with b")["refused"] == "2"


def test_the_page_states_every_command_and_commit_it_was_made_by():
    later = _row("one", 9, "accepted", True, 1.0, command="python -m benchmarks.accuracy --seeds 10", commit="def+")
    text = report([*ROWS, later])
    assert text.count("python -m benchmarks.accuracy --protocol free\n") == 1
    assert "python -m benchmarks.accuracy --seeds 10\n" in text
    assert "1.2.3 (abc), 1.2.3 (def+)" in text
    assert "Of 7 runs 4 were accepted; 3 of these (75.0 %) are right." in text
