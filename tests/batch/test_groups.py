"""Rows of a group: the first trusted one helps the others, and who disagrees is marked, in whatever order."""

from pathlib import Path

import numpy as np
import pytest

from correlight.batch.groups import Shared, disagreement, limits_of
from correlight.batch.record import RESULTS, read_record
from correlight.batch.row import Outcome, Work, run_row
from correlight.batch.schedule import Schedule
from correlight.batch.table import Row, table_of
from correlight.images.image import Image
from correlight.output.from_files import Asked
from correlight.transforms import Affine
from tests.batch.rows import write_couple
from tests.known_pair import known_result

FILES = Path("f.tif"), Path("m.tif")


def images(fixed: float | None, moving: float | None) -> tuple[Image, Image]:
    pixels = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32)
    one, other = (Image.from_array(pixels, spacing=size) for size in (fixed, moving))
    return one, other


def test_a_row_is_searched_near_its_group() -> None:
    shared = Shared("r", "r", 350.0, False, 1.1, True)
    limits = limits_of(shared, Asked(*FILES), *images(0.5, 0.25))
    assert limits["rotation"] == (-20, 0)
    assert limits["scale"] == pytest.approx((2.2 / 1.1, 2.2 * 1.1))
    assert limits["mirror"] is False


def test_what_cannot_be_told_is_not_told() -> None:
    mirrored, plain = Shared("r", "r", 10.0, True, 1.1, True), Shared("r", "r", 10.0, False, 1.1, True)
    both = images(1.0, 1.0)
    # There is no way to ask for mirrored poses alone, and none may be asked for against the row's own word.
    assert "mirror" not in limits_of(mirrored, Asked(*FILES), *both)
    assert limits_of(mirrored, Asked(*FILES, mirror=False), *both) == {}
    assert set(limits_of(plain, Asked(*FILES), *images(1.0, None))) == {"rotation", "mirror"}
    assert limits_of(plain, Asked(*FILES, rotation=(0, 5)), *both) == {}
    assert limits_of(plain, Asked(*FILES, pose=2), *both) == {}
    # Clouds of points are found without any limits but that of their hands.
    assert limits_of(plain, Asked(*FILES, recipe="point-clouds"), *both) == {"mirror": False}


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (Affine.similarity(10), ""),
        (Affine.similarity(18), ""),
        (Affine.similarity(-1), "rotated by -1°"),
        (Affine.similarity(192), "rotated by -168°"),
        (Affine.similarity(10, mirror=True), "It is mirrored"),
    ],
)
def test_who_disagrees_says_how(pose: Affine, words: str) -> None:
    result = known_result(*images(1.0, 1.0), moving_from_fixed=pose)
    # The known result states a scale of 1.2 found and none claimed.
    assert words in disagreement(Shared("r", "first", 10.0, False, 1.2, False), result)
    if not words:
        assert disagreement(Shared("r", "first", 10.0, False, 1.2, False), result) == ""
    assert "0.8 times that of the group, as found from first" in disagreement(
        Shared("r", "first", pose.rotation, pose.mirrored, 1.5, False), result
    )


def through(rows: tuple[Row, ...], home: Path, last_first: bool = False) -> tuple[list[str], dict[str, Outcome]]:
    """All rows in an order that a schedule allows, and which had to be registered."""
    (home / "out" / RESULTS).mkdir(parents=True, exist_ok=True)
    schedule = Schedule(rows, str(home), str(home / "out"))
    names: list[str] = []
    outcomes: dict[str, Outcome] = {}
    waiting: list[Work] = []
    while True:
        while (work := schedule.next()) is not None:
            waiting.append(work)
        if not waiting:
            return names, outcomes
        work = waiting.pop(-1 if last_first else 0)
        outcome = run_row(work)
        names.append(work.row.name)
        outcomes[work.row.name] = outcome
        schedule.done(work, outcome.record)


@pytest.mark.slow
def test_a_group_ends_the_same_in_any_order_and_is_not_done_again(tmp_path: Path) -> None:
    turns = {"a": 40.0, "b": 43.0, "c": 110.0}
    for home in (tmp_path / "one", tmp_path / "two"):
        for name, turn in turns.items():
            write_couple(home, f"{name}_EM.tif", f"{name}_LM.tif", ord(name), 72, turn)
    cells = {"model": "rigid", "mirror": "no", "scale": "0.98..1.02", "stretch": "1..1", "grid": "none", "group": "g"}
    rows = table_of(
        [{**cells, "name": name, "fixed": f"{name}_EM.tif", "moving": f"{name}_LM.tif"} for name in turns]
        + [{**cells, "name": "bad", "fixed": "none.tif", "moving": "a_LM.tif"}]
    ).rows
    names, outcomes = through(rows, tmp_path / "one")
    assert names[0] == "a"
    assert outcomes["bad"].kind == "failed"
    found = {name: outcome.record for name, outcome in outcomes.items() if outcome.record is not None}
    reference = found["a"].own
    assert reference is not None
    assert reference.rotation == pytest.approx(40, abs=1)
    assert found["b"].shared == found["c"].shared == reference
    assert (found["b"].figures.status, found["b"].disagrees, found["b"].alone) == ("accepted", "", "")
    assert found["b"].figures.rotation == pytest.approx(43, abs=1)
    assert found["c"].figures.status == "accepted"
    assert found["c"].disagrees == "It is rotated by 110°, and the group, as found from a, by 40°."
    # Another order of work and of the table.
    _, others = through(rows[::-1], tmp_path / "two", last_first=True)
    assert {name: (o.record.figures, o.record.disagrees) for name, o in others.items() if o.record is not None} == {
        name: (record.figures, record.disagrees) for name, record in found.items()
    }
    assert through(rows, tmp_path / "one")[0] == ["bad"]
    record = read_record(tmp_path / "one" / "out" / RESULTS / "c")
    assert record == found["c"]
    # What the group rests on has changed: all of it is found anew.
    write_couple(tmp_path / "one", "a_EM.tif", "a_LM.tif", 99, 72, 43.0)
    again, outcomes = through(rows, tmp_path / "one")
    assert set(again) == {"a", "b", "c", "bad"}


def test_a_work_is_plain_data() -> None:
    """Workers of a cluster get it over the network."""
    import pickle

    work = Work(table_of([{"fixed": "a", "moving": "b"}]).rows[0], "/h", "/o", Shared("r", "r", 1.0, True, 1.0, False))
    assert pickle.loads(pickle.dumps(work)) == work
