"""A batch on local workers: every row is named in the summary, whatever it is, and none stops the others."""

import csv
import gc
import json
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight import cli
from correlight.batch.pools import one_process
from correlight.batch.record import RESULTS
from correlight.batch.row import Work
from correlight.batch.table import Row
from tests.batch.mutants import batch_of_mutants
from tests.batch.rows import COMMAND, HASTY, NARROW, environment, left_over, run, run_here, write_couple, write_rows

NAMES = (
    "plain",
    "two words",
    'say "hi"',
    "<img src=x onerror=alert(1)>&amp;",
    "two\nlines\x1b[2J",
    "日本 µ–",
    "=1+1",
    "x;=1+1;y",
    "a/b",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of rows of every kind, and what came of it."""
    home = tmp_path_factory.mktemp("a batch")
    rows: list[dict[str, str]] = []
    for number, name in enumerate(NAMES):
        # Files have such names as well, as far as a file may.
        stem = name.replace("/", "%2F")
        write_couple(home / "in #1", f"{stem} EM.tif", f"{stem} LM.tif", number)
        options = NARROW if number < 2 else HASTY
        rows.append({"name": name, "fixed": f"in #1/{stem} EM.tif", "moving": f"in #1/{stem} LM.tif", **options})
    shutil.copy(home / "in #1" / "plain EM.tif", home / "locked.tif")
    (home / "locked.tif").chmod(0o444)
    (home / "text.tif").write_text("no image")
    good = {"moving": "in #1/plain LM.tif", **HASTY}
    rows += [
        {"name": "read only", "fixed": "locked.tif", **good},
        {"name": "not an image", "fixed": "text.tif", **good},
        {"name": "not there", "fixed": "none.tif", **good},
        {"name": "no recipe", "fixed": "locked.tif", **good, "recipe": "none"},
        {"name": "bad cell", "fixed": "locked.tif", **good, "rotation": "around"},
        {"name": "half", "fixed": "locked.tif"},
        {"name": "twice", "fixed": "locked.tif", **good},
        {"name": "twice", "fixed": "locked.tif", **good},
    ]
    write_rows(home / "pairs.csv", rows)
    done = run("pairs.csv", "-o", "out", "--workers", "2", home=home)
    (home / "said.json").write_text(json.dumps([done.returncode, done.stdout, done.stderr]))
    return home


def summary(home: Path, out: str = "out") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / out / "summary.json").read_text())
    return content


def test_every_row_is_named_with_what_became_of_it(home: Path) -> None:
    code, said, wrong = json.loads((home / "said.json").read_text())
    assert code == 3, wrong
    content = summary(home)
    assert content["rows"] == len(content["results"]) == len(NAMES) + 7
    assert content["counts"] == {"failed": 5, "refused": 9, "accepted": 2}
    reasons = {row["name"]: row["sentence"] for row in content["results"] if row["status"] == "failed"}
    assert reasons.keys() == {"not an image", "not there", "no recipe", "bad cell", "half"}
    for name, sentence in reasons.items():
        # Each is said once on standard error, by its name, in one line.
        assert f"correlight: {name} failed: {sentence}\n" in wrong
        assert sentence.endswith(".")
    assert wrong.count("\n") == 5
    assert "16 rows: 5 failed, 9 refused, 2 accepted.\n" in said
    assert said.count(" of 16") == 11
    assert [row["times"] for row in content["results"] if row["name"] == "twice"] == [2]


def test_the_summary_says_what_to_try_next(home: Path) -> None:
    with (home / "out" / "summary.csv").open(newline="", encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    page = (home / "out" / "summary.html").read_text()
    for line, row in zip(told, summary(home)["results"], strict=True):
        assert line["advice"] == " ".join(row["advice"])
        assert bool(line["advice"]) == (line["status"] == "refused")
        assert all(sentence in page for sentence in row["advice"])


def test_a_result_is_that_of_register_byte_for_byte(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    options = [word for name, text in NARROW.items() if name != "mirror" for word in (f"--{name}", text)]
    files = [str(home / "in #1" / f"plain {role}.tif") for role in ("EM", "LM")]
    assert cli.main(["register", *files, "-o", "one", *options, "--no-mirror"]) == 0
    one, other = home / "one", home / "out" / "results" / "plain"
    names = {path.name for path in one.iterdir()}
    assert {path.name for path in other.iterdir()} == names | {"row.json", "thumbnail.png"}
    for name in ("moving_from_fixed.tfm", "overlay.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    error, again = (tifffile.imread(folder / "predicted_error.tif") for folder in (one, other))
    assert np.array_equal(error, again)
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, other)]
    for result in results:
        del result["seconds"], result["peak_memory_mb"]
    assert results[0] == results[1]


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_shows_every_name_as_it_is_and_leads_to_every_report(home: Path) -> None:
    from urllib.parse import unquote

    page = Links()
    page.feed((home / "out" / "summary.html").read_text())
    assert set(page.words) >= {*NAMES, "half", "not there"}
    assert page.tags.count("img") == 11
    assert "script" not in page.tags
    for link in page.links:
        assert (home / "out" / unquote(link)).is_file(), link
    assert page.words.index("half") < page.words.index("a/b") < page.words.index("plain")


def test_a_spreadsheet_does_not_compute_a_name(home: Path) -> None:
    text = (home / "out" / "summary.csv").read_text()
    assert text.count("\n'=1+1,") == 1
    # Nor does it steer the terminal that it is shown in.
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
    # Whatever parts the fields where it is opened: a name may hold a semicolon or a tab.
    for mark in ",;\t":
        cells = [cell for line in csv.reader(text.splitlines(), delimiter=mark) for cell in line]
        assert not [cell for cell in cells if cell.startswith("=")]


def test_started_again_nothing_finished_is_done_again(home: Path) -> None:
    out = home / "out"
    before = {path: path.stat().st_mtime_ns for path in (out / "results").rglob("*")}
    pages = {path.name: path.read_bytes() for path in out.glob("summary.*")}
    done = run_here("pairs.csv", "-o", "out", "--shard", "1/1", "--exit-zero", home=home)
    assert done.returncode == 0, done.stderr
    assert "11 of 16 rows are complete already." in done.stdout
    # Rows that failed are tried again, and fail again.
    assert done.stderr.count(" failed: ") == 5
    assert {path: path.stat().st_mtime_ns for path in (out / "results").rglob("*")} == before
    assert run_here("--collect", "out", home=home).returncode == 3
    assert {path.name: path.read_bytes() for path in out.glob("summary.*")} == pages
    assert left_over(out) == []


def test_parts_make_the_same_summary_from_another_order(home: Path) -> None:
    with (home / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    write_rows(home / "other.csv", [dict(reversed(row.items())) for row in reversed(rows)])
    for part in ("2/2", "1/2"):
        done = run_here("other.csv", "-o", "parts", "--shard", part, "--fail-on", "never", home=home)
        assert done.returncode == 0, done.stderr
        assert not (home / "parts" / "summary.html").exists()
    assert run_here("--collect", "parts", "--exit-zero", home=home).returncode == 0
    for name in ("summary.html", "summary.csv", "summary.json"):
        assert (home / "parts" / name).read_bytes() == (home / "out" / name).read_bytes()


def test_an_input_or_an_option_that_changed_is_done_again(home: Path, tmp_path: Path) -> None:
    for name in "abc":
        write_couple(tmp_path, f"{name}_EM.tif", f"{name}_LM.tif", ord(name))
    rows = [{"name": n, "fixed": f"{n}_EM.tif", "moving": f"{n}_LM.tif", **HASTY} for n in "abc"]
    write_rows(tmp_path / "t.csv", rows)
    assert run_here("t.csv", "-o", "out", "--shard", "1/1", "--exit-zero", home=tmp_path).returncode == 0
    os.utime(tmp_path / "a_EM.tif")  # the same bytes at another time
    write_couple(tmp_path, "b_EM.tif", "b_LM.tif", 7)
    rows[2]["seed"] = "5"
    write_rows(tmp_path / "t.csv", rows)
    done = run_here("t.csv", "-o", "out", "--shard", "1/1", "--exit-zero", home=tmp_path)
    assert "1 of 3 rows are complete already." in done.stdout
    assert sorted(line.split()[-1] for line in done.stdout.splitlines() if "refused" in line) == ["b", "c"]
    # What somebody else put into a result is not lost; the row says so.
    (tmp_path / "out" / "results" / "b" / "notes.txt").write_text("mine")
    write_couple(tmp_path, "b_EM.tif", "b_LM.tif", 8)
    done = run_here("t.csv", "-o", "out", "--shard", "1/1", "--exit-zero", home=tmp_path)
    assert "b failed: " in done.stderr
    assert "notes.txt" in done.stderr
    assert (tmp_path / "out" / "results" / "b" / "notes.txt").read_text() == "mine"


def test_two_batches_on_one_folder_refuse_each_other(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = home / "out"
    words = ["batch", str(home / "pairs.csv"), "-o", str(out)]
    part = out / "part-1-of-2"
    for held, refused in ((out, "--workers=1"), (out, "--shard=1/2"), (part, "--shard=1/3"), (part, "--shard=1/2")):
        code = (
            "import sys, time; from pathlib import Path; from correlight.output.claim import claimed\n"
            "with claimed(Path(sys.argv[1]), 'out'): print('held', flush=True); time.sleep(60)"
        )
        with subprocess.Popen([COMMAND[0], "-c", code, str(held)], stdout=subprocess.PIPE, env=environment()) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert cli.main([*words, refused]) == 2
            assert "Another run is writing" in capsys.readouterr().err
            other.kill()
    for path in (home / ".out.lock", *out.glob(".part*")):
        path.unlink(missing_ok=True)


def test_a_folder_with_something_else_is_no_batch(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["batch", str(home / "pairs.csv"), "-o", str(home / "in #1")]) == 2
    assert "holds something else" in capsys.readouterr().err


def test_a_scheduler_that_does_not_answer_is_one_sentence(home: Path) -> None:
    pytest.importorskip("distributed")
    done = run("pairs.csv", "-o", "nobody", "--scheduler", "127.0.0.1:1", home=home)
    assert not (home / "nobody").exists()
    assert done.returncode == 2
    assert "A scheduler of Dask was expected" in done.stderr
    assert done.stderr.count("\n") == 1


def test_damaged_files_stop_no_batch(tmp_path: Path) -> None:
    """The long version is ``python -m tests.batch``."""
    pytest.importorskip("mrcfile")
    assert batch_of_mutants(tmp_path, 24, 1) == []


SEEN: list[Any] = []


def networks_opened() -> int:
    """How many networks this process opened since it was asked last."""
    import onnxruntime

    new = [one for one in gc.get_objects() if isinstance(one, onnxruntime.InferenceSession)]
    new = [one for one in new if not any(one is other for other in SEEN)]
    SEEN.extend(new)
    return len(new)


def test_a_process_opens_the_networks_once_not_for_every_row(tmp_path: Path) -> None:
    (tmp_path / "out" / RESULTS).mkdir(parents=True)
    opened = []
    with one_process() as pool:
        for number in range(2):
            write_couple(tmp_path, f"{number}_EM.tif", f"{number}_LM.tif", number)
            cells = {"fixed": f"{number}_EM.tif", "moving": f"{number}_LM.tif", **NARROW}
            row = Row(f"r{number}", f"r{number}", cells)
            assert pool.submit(Work(row, str(tmp_path), str(tmp_path / "out"))).result().kind == "done"
            assert pool._executor is not None
            opened.append(pool._executor.submit(networks_opened).result())
    assert opened[0] >= 1
    assert opened[1:] == [0]
