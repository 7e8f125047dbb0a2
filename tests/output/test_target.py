"""Output takes its place whole or not at all, and nothing that others put there is lost."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from correlight import cli
from correlight.cli.streams import Terminal
from correlight.errors import ReadError, UsageError, WriteError
from correlight.output import claim as claim_module
from correlight.output import target as targets_module
from correlight.output.target import reserve, reserve_files


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def put(files: dict[Path, str], error: type[BaseException] | None = None) -> None:
    """Write files and the folders that they lie in, and perhaps be stopped."""
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    if error is not None:
        raise error


def earlier(out: Path) -> None:
    """A result with a file in a folder of its own."""
    with reserve(out) as folder:
        (folder / "result.json").write_text("first")
        (folder / "store.zarr").mkdir()
        (folder / "store.zarr" / "0").write_text("pixels")


def write_half(path: Path, error: type[BaseException]) -> None:
    """Begin to write, and be stopped."""
    path.write_text("half")
    raise error("stop")


def test_the_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with reserve(tmp_path / "out") as folder:
        (folder / "result.json").write_text("{}")
        assert folder.parent == tmp_path
        assert not (tmp_path / "out").exists()
    assert content(tmp_path) == {"out"}
    assert content(tmp_path / "out") == {"manifest.json", "result.json"}
    # Others may read the folder as far as they may read anything that this user makes.
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, ReadError, MemoryError])
def test_nothing_is_left_when_something_goes_wrong(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), reserve(tmp_path / "out") as folder:
        write_half(folder / "half", error)
    assert content(tmp_path) == set()


def test_an_earlier_result_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with reserve(out) as folder:
        (folder / "result.json").write_text("first")
    with pytest.raises(UsageError, match=r"exists.*allow it to be overwritten"), reserve(out):
        pytest.fail("the folder exists")
    with pytest.raises(KeyboardInterrupt), reserve(out, overwrite=True):
        raise KeyboardInterrupt
    assert (out / "result.json").read_text() == "first"
    with reserve(out, overwrite=True) as folder:
        (folder / "result.json").write_text("second")
        assert (out / "result.json").read_text() == "first"
    assert (out / "result.json").read_text() == "second"
    assert content(tmp_path) == {"out"}


def test_an_earlier_result_comes_back_when_the_new_one_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with reserve(out) as folder:
        (folder / "result.json").write_text("first")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(WriteError, match="Input/output error"), reserve(out, overwrite=True) as folder:
        (folder / "result.json").write_text("second")
    assert (out / "result.json").read_text() == "first"
    assert content(tmp_path) == {"out"}


def test_only_results_are_ever_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="no earlier result"), reserve(home, overwrite=True):
        pytest.fail("somebody's folder would be lost")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(home)
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="something else"), reserve(tmp_path / name, overwrite=True):
            pytest.fail("not a folder")
    (tmp_path / "empty").mkdir()
    with reserve(tmp_path / "empty", overwrite=True) as folder:
        (folder / "new").write_text("")
    assert content(tmp_path / "empty") == {"manifest.json", "new"}
    assert content(home) == {"thesis.txt"}


def test_inputs_are_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with reserve(out) as folder:
        (folder / "result.json").write_text("")
        (folder / "registered.ome.tif").write_text("")
    inside = out / "registered.ome.tif"
    with pytest.raises(UsageError, match="would replace the input"), reserve(out, overwrite=True, inputs=[inside]):
        pytest.fail("the input would be lost")
    with pytest.raises(UsageError, match="would replace"), reserve_files(inside, overwrite=True, inputs=[inside]):
        pytest.fail("the input would be lost")


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for parent in ("none", "file"):
        with pytest.raises(WriteError, match="is no folder"), reserve(tmp_path / parent / "out"):
            pytest.fail("no work must start")
    with pytest.raises(WriteError, match="cannot be made"), reserve("/proc/out"):
        pytest.fail("no work must start")
    with pytest.raises(UsageError, match="root"), reserve("/"):
        pytest.fail("no work must start")


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    targets = tmp_path / "a.tif", tmp_path / "b.tif"
    with pytest.raises(RuntimeError), reserve_files(*targets) as folder:
        write_half(folder / "a.tif", RuntimeError)
    assert content(tmp_path) == set()
    with reserve_files(*targets) as folder:
        for target in targets:
            (folder / target.name).write_text("1")
    with pytest.raises(UsageError, match="exists"), reserve_files(tmp_path / "c.tif", targets[1]):
        pytest.fail("a file exists")
    with reserve_files(targets[0], overwrite=True) as folder:
        (folder / "a.tif").write_text("2")
    assert content(tmp_path) == {"a.tif", "b.tif"}
    assert targets[0].read_text() == "2"
    (tmp_path / "d.tif").mkdir()
    with pytest.raises(UsageError, match="is a folder"), reserve_files(tmp_path / "d.tif", overwrite=True):
        pytest.fail("a folder stands there")


def test_what_appears_at_the_target_during_a_run_survives(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="appeared"), reserve(out) as folder:
        put({folder / "result.json": "mine", out / "thesis.txt": "years of work"})
    assert content(tmp_path) == {"out"}
    assert content(out) == {"thesis.txt"}
    with pytest.raises(UsageError, match="appeared"), reserve(tmp_path / "other") as folder:
        (tmp_path / "other").write_text("a file")
    assert (tmp_path / "other").read_text() == "a file"


def test_a_folder_that_appears_at_the_last_moment_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look and the renaming there is nothing that could tell; renaming itself must refuse."""
    out = tmp_path / "out"
    monkeypatch.setattr(targets_module.os.path, "lexists", lambda path: False)  # type: ignore[attr-defined]
    with pytest.raises(WriteError, match="not empty"), reserve(out) as folder:
        put({folder / "result.json": "mine", out / "thesis.txt": "years of work"})
    assert content(out) == {"thesis.txt"}


def test_files_that_appear_during_a_run_survive(tmp_path: Path) -> None:
    """The second of two files is taken, so the first one must go again."""
    with (
        pytest.raises(UsageError, match=r"b\.tif.* nothing was written"),
        reserve_files(tmp_path / "a.tif", tmp_path / "b.tif") as folder,
    ):
        put({folder / "a.tif": "mine", folder / "b.tif": "mine", tmp_path / "b.tif": "theirs"})
    assert content(tmp_path) == {"b.tif"}
    assert (tmp_path / "b.tif").read_text() == "theirs"


@pytest.mark.parametrize("links", [True, False])
def test_earlier_files_come_back_when_one_of_several_fails(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:

        def without(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(targets_module.os, "link", without)  # type: ignore[attr-defined]
    paths = tmp_path / "a.tif", tmp_path / "b.tif"
    with reserve_files(*paths) as folder:
        for path in paths:
            (folder / path.name).write_text("first")
    replace, calls = os.replace, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(targets_module.os, "replace", failing)  # type: ignore[attr-defined]
    with pytest.raises(WriteError, match="Input/output"), reserve_files(*paths, overwrite=True) as folder:
        put({folder / path.name: "second" for path in paths})
    assert content(tmp_path) == {"a.tif", "b.tif"}
    assert [path.read_text() for path in paths] == ["first", "first"]


def test_only_what_the_manifest_lists_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    earlier(out)
    listed = json.loads((out / "manifest.json").read_text())["files"]
    assert set(listed) == {"result.json", "store.zarr/0"}
    assert listed["result.json"]["size"] == 5
    (out / "store.zarr" / "notes.txt").write_text("mine")
    with (
        pytest.raises(UsageError, match=r"store\.zarr/notes\.txt, which correlight did not write"),
        reserve(out, overwrite=True),
    ):
        pytest.fail("the notes would be lost")
    (out / "store.zarr" / "notes.txt").unlink()
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="link, which correlight did not write"), reserve(out, overwrite=True):
        pytest.fail("the link would be lost")
    (out / "link").unlink()
    (out / ".DS_Store").write_text("")
    with reserve(out, overwrite=True) as folder:
        (folder / "new").write_text("")
    assert content(out) == {"manifest.json", "new"}


def test_a_result_that_somebody_changed_is_kept(tmp_path: Path) -> None:
    """A table that was corrected by hand has the same name, and here even the same size."""
    out = tmp_path / "out"
    earlier(out)
    (out / "result.json").write_text("FIRST")
    with pytest.raises(UsageError, match=r"result\.json in .* was changed"), reserve(out, overwrite=True):
        pytest.fail("the change would be lost")
    assert (out / "result.json").read_text() == "FIRST"


@pytest.mark.parametrize(
    "name", ["result.json", "footprint.tif", "pair.json", "zarr.json", "applied.csv", "truth.json"]
)
def test_a_bare_file_name_is_no_proof(name: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    for other in (name, "thesis.txt"):
        (tmp_path / "home" / other).write_text("{}")
    with pytest.raises(UsageError, match="no earlier result"), reserve(tmp_path / "home", overwrite=True):
        pytest.fail("somebody's folder would be lost")
    assert content(tmp_path / "home") == {name, "thesis.txt"}


def test_a_file_that_is_put_into_an_earlier_result_during_the_run_survives(tmp_path: Path) -> None:
    out = tmp_path / "out"
    earlier(out)
    with (
        pytest.raises(UsageError, match=r"notes\.txt in .* changed during the run"),
        reserve(out, overwrite=True) as folder,
    ):
        put({folder / "result.json": "second", out / "notes.txt": "mine"})
    assert content(tmp_path) == {"out"}
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "result.json").read_text() == "first"


def test_of_two_runs_on_one_target_the_second_fails_at_once(tmp_path: Path) -> None:
    with reserve(tmp_path / "out") as folder:
        (folder / "result.json").write_text("first")
        with pytest.raises(UsageError, match="Another run is writing"), reserve(tmp_path / "out", overwrite=True):
            pytest.fail("both would write")
        with reserve(tmp_path / "elsewhere"):
            pass
    assert content(tmp_path) == {"out", "elsewhere"}
    with reserve_files(tmp_path / "a.tif", tmp_path / "b.tif") as folder:
        with pytest.raises(UsageError, match="Another run"), reserve_files(tmp_path / "c.tif", tmp_path / "b.tif"):
            pytest.fail("both would write")
        for name in ("a.tif", "b.tif"):
            (folder / name).write_text("")
    assert content(tmp_path) == {"out", "elsewhere", "a.tif", "b.tif"}


RACE = """
import sys, time
from pathlib import Path
from typing import Any
from correlight.errors import UsageError
from correlight.output.target import reserve
print("ready", flush=True)
start = float(sys.stdin.readline())
while time.time() < start:
    pass
try:
    with reserve("out") as folder:
        (folder / "who").write_text(sys.argv[1])
        time.sleep(0.01)
except UsageError:
    sys.exit(2)
"""


def test_of_many_runs_at_once_one_wins(tmp_path: Path) -> None:
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    runs = [
        subprocess.Popen([sys.executable, "-c", RACE, str(number)], cwd=tmp_path, text=True, **pipes)
        for number in range(4)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
    # Nobody waits for the others to be loaded, which takes a processor each: only these moments are waited for so.
    start = f"{time.time() + 0.1}\n"
    codes = []
    for run in runs:
        assert run.stdin is not None
        run.stdin.write(start)
        run.stdin.flush()
    for run in runs:
        _, said = run.communicate(timeout=60)
        assert said == ""
        codes.append(run.returncode)
    assert sorted(codes) == [0, 2, 2, 2]
    assert (tmp_path / "out" / "who").read_text() == str(codes.index(0))
    assert content(tmp_path) == {"out"}


KILLED = """
import sys, time
from correlight.output.target import reserve
with reserve("out", overwrite=True) as folder:
    (folder / "half").write_text("half")
    print("there", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_run_left_is_swept_by_the_next_one(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"there\n"
        with pytest.raises(UsageError, match="Another run"), reserve(tmp_path / "out"):
            pytest.fail("it still lives")
        run.send_signal(signal.SIGKILL)
    assert any(name.endswith(".partial") for name in content(tmp_path))
    (tmp_path / ".out.deadbeef.partial.txt").write_text("of somebody else")
    (tmp_path / ".other.deadbeef.partial").mkdir()
    with reserve(tmp_path / "out") as folder:
        (folder / "whole").write_text("")
    assert content(tmp_path) == {"out", ".out.deadbeef.partial.txt", ".other.deadbeef.partial"}


@pytest.mark.parametrize("placed", [False, True])
def test_a_run_killed_between_two_renames_costs_no_result(placed: bool, tmp_path: Path) -> None:
    """The earlier result had stepped aside, and the new one was or was not in its place."""
    out = tmp_path / "out"
    earlier(out)
    shutil.copytree(out, tmp_path / ".out.deadbeef.earlier")
    if not placed:
        shutil.rmtree(out)
    with pytest.raises(UsageError, match="exists"), reserve(out):
        pytest.fail("there is a result")
    assert content(tmp_path) == {"out"}
    assert (out / "store.zarr" / "0").read_text() == "pixels"


def test_disks_without_locks_still_take_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    (tmp_path / ".out.deadbeef.partial").mkdir()
    with reserve(tmp_path / "out") as folder:
        (folder / "result.json").write_text("")
    # Nobody can say whether the other run still lives.
    assert content(tmp_path) == {"out", ".out.deadbeef.partial"}


def test_an_input_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    file, store = tmp_path / "a.tif", tmp_path / "a.zarr"
    file.write_text("before")
    store.mkdir()
    (store / "0").write_text("before")
    for path, part in ((file, file), (store, store / "0"), (store, store / "1")):
        with (
            pytest.raises(ReadError, match=rf"{path.name} changed while it was read"),
            reserve(tmp_path / "out", inputs=[path]),
        ):
            part.write_text("afterwards")
    with pytest.raises(ReadError, match="changed"), reserve_files(tmp_path / "b.tif", inputs=[file]) as folder:
        put({folder / "b.tif": "", file: "once more"})
    # A result may be written beside what it was made from.
    with reserve(store / "out", inputs=[store]) as folder:
        (folder / "result.json").write_text("")
    assert content(tmp_path) == {"a.tif", "a.zarr"}


def test_an_unreadable_input_is_blamed_and_not_the_output(tmp_path: Path) -> None:
    missing = tmp_path / "gone.tif"
    with (
        pytest.raises(ReadError, match=r"gone\.tif could not be read \(No such file") as caught,
        reserve(tmp_path / "out", inputs=[missing]),
    ):
        missing.open("rb")
    assert "out could not" not in str(caught.value)
    with pytest.raises(WriteError, match="out could not be written"), reserve(tmp_path / "out") as folder:
        (folder / "none" / "file").write_text("")


def test_patience_is_not_needed_for_cleaning_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second interruption while the first one is being cleaned up after."""
    rmtree, times = shutil.rmtree, []

    def interrupted(folder: Path, ignore_errors: bool) -> None:
        times.append(folder)
        if len(times) == 1:
            raise KeyboardInterrupt
        rmtree(folder, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), reserve(tmp_path / "out") as folder:
        put({folder / "half": ""}, KeyboardInterrupt)
    monkeypatch.undo()
    assert content(tmp_path) == set()


@pytest.mark.parametrize("place", ["open", "_lock", "_sweep", "_unlink", "close"])
def test_an_interruption_while_a_target_is_claimed_or_let_go_leaves_no_lock(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is called is done, and the interruption comes before anybody knows of it."""
    owner = claim_module if place.startswith("_") else os
    kept = getattr(owner, place)
    times: list[object] = []

    def interrupted(*given: object, **more: object) -> object:
        found = kept(*given, **more)
        if not times and (place != "open" or str(given[0]).endswith(".lock")):
            times.append(place)
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(owner, place, interrupted)
    with pytest.raises(KeyboardInterrupt), reserve(tmp_path / "out"):
        pass
    monkeypatch.undo()
    assert times
    assert not [name for name in content(tmp_path) if name.endswith(".lock")]
    assert claim_module.CLAIMED == []
    with reserve(tmp_path / "out", overwrite=True) as folder:
        (folder / "result.json").write_text("")
    assert content(tmp_path) == {"out"}


def test_nothing_interrupts_the_moment_in_which_output_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards nobody could say whether it was written; the moment ends by itself, and so does the run."""
    rename = Path.rename
    heard = cli._on_signal(Terminal())

    def signalled(self: Path, target: Path) -> Path:
        found = rename(self, target)
        heard(signal.SIGTERM, None)
        return found

    monkeypatch.setattr(Path, "rename", signalled)
    with reserve(tmp_path / "out") as folder:
        (folder / "result.json").write_text("")
    assert content(tmp_path) == {"out"}
    assert targets_module.WRITTEN[-1] == tmp_path / "out"


def test_a_signal_that_follows_another_says_nothing_more() -> None:
    """Closing a terminal sends several; without a target the first one would end the process at once."""
    heard = cli._on_signal(Terminal())
    claim_module.CLAIMED.append(Path("out"))
    try:
        with pytest.raises(KeyboardInterrupt):
            heard(signal.SIGHUP, None)
    finally:
        claim_module.CLAIMED.clear()
    heard(signal.SIGHUP, None)


def test_a_block_that_could_not_clean_up_leaves_nothing_when_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption as a block is left, before its own code runs, keeps it from cleaning up."""
    blocks = []

    def interrupted(argv: None) -> int:
        blocks.append(reserve(tmp_path / "out"))
        (blocks[-1].__enter__() / "result.json").write_text("")
        assert len(content(tmp_path)) == 2
        raise cli.Stopped(signal.SIGTERM)

    monkeypatch.setattr("correlight.cli.program.run", interrupted)
    monkeypatch.setattr(cli, "_hear", lambda handler: {})
    assert cli.main() == 128 + signal.SIGTERM
    assert content(tmp_path) == set()
    # What collects the block afterwards finds nothing to do, and takes nobody else's lock.
    with reserve(tmp_path / "out") as folder:
        (folder / "result.json").write_text("")
        blocks.clear()
        assert any(name.endswith(".lock") for name in content(tmp_path))
    assert content(tmp_path) == {"out"}
