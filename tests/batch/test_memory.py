"""A machine whose memory does not suffice: the kernel itself ends a worker, whose row is named and tried once more."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from tests.batch.rows import COMMAND, HASTY, environment, left_over, write_couple, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="limits memory by control groups")]

# Pixels of the side of an image that takes 350 MB to look through, and of the part of it that is registered.
SIDE, PART = 4000, 64
HEAVY = 2
# One group of processes may use so many bytes, by the version of control groups.
GROUPS = {
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
    Path("/sys/fs/cgroup"): "memory.max",
}
# Runs the command as a member of the group.
INSIDE = ("sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"')


@pytest.fixture
def limited() -> Iterator[Callable[[int], tuple[str, ...]]]:
    """How a command is begun that, with all that it starts, may use so many bytes together; no other process is."""
    for home, name in GROUPS.items():
        group = home / f"correlight-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            if (group / name).exists():
                limit = group / name
                break
            group.rmdir()
    else:
        pytest.skip("limiting the memory of processes takes the rights of the superuser and control groups")

    def begin(size: int) -> tuple[str, ...]:
        limit.write_text(str(size))
        for name in ("memory.swap.max", "memory.swappiness"):
            with suppress(OSError):
                (group / name).write_text("0")
        return *INSIDE, str(group)

    yield begin
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(OSError):
            group.rmdir()
            break
        time.sleep(0.1)


def write_heavy(home: Path, count: int) -> list[dict[str, str]]:
    """Rows whose fixed images are large, and of which a small part is registered."""
    rows = []
    for number in range(count):
        write_couple(home, f"{number}_EM.tif", f"{number}_LM.tif", number)
        picture = np.full((SIDE, SIDE), 100, np.uint8)
        picture[:PART, :PART] = tifffile.imread(home / f"{number}_EM.tif")
        # A format that has to be decoded as a whole.
        assert cv2.imwrite(str(home / f"{number}.png"), picture)
        files = {"fixed": f"{number}.png", "moving": f"{number}_LM.tif"}
        rows.append({"name": f"heavy {number}", **files, "roi": f"0,{PART},0,{PART}", **HASTY})
    return rows


def batch_in(begin: tuple[str, ...], home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*begin, *COMMAND, "t.csv", "-o", "out", "--exit-zero", *words]
    return subprocess.run(
        command, cwd=home, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


def counts(home: Path) -> dict[str, int]:
    content: dict[str, int] = json.loads((home / "out" / "summary.json").read_text())["counts"]
    return content


def test_what_two_workers_have_no_room_for_is_done_by_one(
    limited: Callable[[int], tuple[str, ...]], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    write_rows(tmp_path / "t.csv", write_heavy(tmp_path, HEAVY))
    done = batch_in(limited(800 * 2**20), tmp_path, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert " is tried once more, with no other row beside it" in done.stderr
    assert counts(tmp_path) == {"refused": HEAVY}, done.stderr
    assert left_over(tmp_path / "out" / "results") == []


def test_a_row_for_which_there_is_no_room_at_all_is_named(
    limited: Callable[[int], tuple[str, ...]], tmp_path: Path
) -> None:
    rows = write_heavy(tmp_path, 1)
    small = {"name": "small", "fixed": "0_EM.tif", "moving": "0_LM.tif", **HASTY}
    write_rows(tmp_path / "t.csv", [*rows, small])
    done = batch_in(limited(350 * 2**20), tmp_path, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "heavy 0 is tried once more, with no other row beside it" in done.stderr
    assert "heavy 0 failed: The process that registered it was ended from outside, and once more" in done.stderr
    assert counts(tmp_path) == {"failed": 1, "refused": 1}, done.stderr
