"""Progress is told from one thread, and whoever follows it can cancel: at once, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from correlight.errors import Cancelled
from correlight.io import write_ome_tiff
from correlight.progress import checkpoint, in_threads, watched
from correlight.registration.register import register
from tests import small_pairs
from tests.small_pairs import Couple

# What is promised is half a second; other tests may have both cores of the machine, which then takes three times that.
PROMISED, ON_A_BUSY_MACHINE = 0.5, 1.5


def pool_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


@pytest.fixture(autouse=True)
def _leaves_no_thread() -> Iterator[None]:
    before = set(pool_threads())
    yield
    assert set(pool_threads()) <= before


class Listener:
    """Cancels some time after a stage began, as a person would who looks at a progress bar."""

    def __init__(self, stage: str, after: float) -> None:
        self._stage, self._after = stage, after
        self._wanted = threading.Event()
        self._timer: threading.Timer | None = None
        self.wanted_at = float("inf")
        self.threads: set[int] = set()
        self.stages: list[str] = []

    def _want(self) -> None:
        self.wanted_at = time.monotonic()
        self._wanted.set()

    def __call__(self, stage: str, fraction: float) -> None:
        self.threads.add(threading.get_ident())
        if stage not in self.stages:
            self.stages.append(stage)
        assert 0 <= fraction <= 1
        if stage == self._stage and self._timer is None:
            self._timer = threading.Timer(self._after, self._want)
            self._timer.start()
        if self._wanted.is_set():
            raise Cancelled("Enough was seen.")

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()


COUPLES: dict[str, Callable[[], Couple]] = {
    "images": small_pairs.cell_with_beads,
    "stacks": lambda: small_pairs.stacks(large=True),
    "section": lambda: small_pairs.section(large=True),
    "organelles": lambda: small_pairs.organelles(2),
    "organelles in space": lambda: small_pairs.organelles(3),
    "beads in space": small_pairs.stacks_of_beads,
}


@pytest.mark.parametrize(
    ("kind", "recipe", "stage"),
    [
        ("images", "auto", "search"),
        ("images", "auto", "refine"),
        ("images", "auto", "verify"),
        ("images", "mutual-information", "search"),
        ("images", "neural-mi", "refine"),
        ("images", "fiducials", "search"),
        ("images", "image-then-fiducials", "refine"),
        ("stacks", "auto", "search"),
        ("stacks", "auto", "refine"),
        ("stacks", "auto", "verify"),
        ("stacks", "log-mi-3d", "search"),
        ("stacks", "neural-mi", "refine"),
        ("section", "auto", "search"),
        ("organelles", "point-clouds", "search"),
        ("organelles in space", "point-clouds", "search"),
        ("beads in space", "fiducials", "search"),
    ],
)
def test_a_registration_ends_at_once_when_it_is_cancelled(kind: str, recipe: str, stage: str) -> None:
    couple = COUPLES[kind]()
    # At a time that the names of the parameters choose: another one for each case, and the same on every run. No stage
    # may be over by then, and the last one of small stacks takes a twentieth of a second.
    latest = 0.01 if stage == "verify" else 0.2
    after = float(np.random.default_rng(list(f"{kind} {recipe} {stage}".encode())).uniform(0.0, latest))
    listener = Listener(stage, after)
    # Later stages are reached sooner from a start.
    start = None if stage == "search" else couple.moving_from_fixed
    try:
        with pytest.raises(Cancelled, match="Enough was seen"):
            register(
                couple.fixed,
                couple.moving,
                recipe,
                moving_channel="reflected" if recipe == "auto" and kind == "images" else None,
                start=start,
                workers=2,
                progress=listener,
            )
        took = time.monotonic() - listener.wanted_at
    except BaseException:
        listener.end()
        raise
    listener.end()
    assert stage in listener.stages
    assert listener.threads == {threading.get_ident()}
    assert took < ON_A_BUSY_MACHINE
    assert not pool_threads()


def test_cancelling_at_the_first_report_does_nothing_more() -> None:
    couple = small_pairs.cell_with_beads()
    told: list[tuple[str, float]] = []

    def stop(stage: str, fraction: float) -> None:
        told.append((stage, fraction))
        raise Cancelled("No.")

    began = time.monotonic()
    with pytest.raises(Cancelled, match="No"):
        register(couple.fixed, couple.moving, progress=stop)
    assert time.monotonic() - began < ON_A_BUSY_MACHINE
    assert told == [("search", 0.0)]


def test_all_stages_are_told_in_order_and_reports_do_not_go_back() -> None:
    couple = small_pairs.organelles(2)
    told: list[tuple[str, float]] = []

    def listen(stage: str, fraction: float) -> None:
        told.append((stage, fraction))

    register(couple.fixed, couple.moving, "point-clouds", progress=listen)
    stages = [stage for stage, _ in told]
    assert list(dict.fromkeys(stages)) == ["search", "refine", "verify"]
    for stage in ("search", "refine", "verify"):
        fractions = [fraction for name, fraction in told if name == stage]
        assert fractions == sorted(fractions)
        assert fractions[0] == 0
        assert fractions[-1] == 1


def test_the_listener_is_asked_while_threads_work() -> None:
    """A long item of another thread keeps nobody from cancelling, and the thread ends at its next checkpoint."""
    ended = threading.Event()

    def work(item: int) -> None:
        try:
            for _ in range(1000):
                time.sleep(0.01)
                checkpoint()
        finally:
            ended.set()

    def run() -> None:
        with watched(listener) as report:
            report("search", 0.0)
            list(in_threads(work, range(4), 2))

    listener = Listener("search", 0.2)
    with pytest.raises(Cancelled):
        run()
    listener.end()
    assert time.monotonic() - listener.wanted_at < ON_A_BUSY_MACHINE
    assert ended.is_set()


def test_without_a_listener_checkpoints_do_nothing() -> None:
    checkpoint()
    with watched(None) as report:
        report("search", 0.5)
        checkpoint()
    assert list(in_threads(lambda item: 2 * item, range(5), 2)) == [0, 2, 4, 6, 8]


def test_an_error_of_one_item_is_raised_and_the_others_end() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        if item == 1:
            raise ValueError("one")
        time.sleep(0.01)
        return item

    with pytest.raises(ValueError, match="one"):
        list(in_threads(work, range(100), 2))
    assert len(started) < 100


def test_an_interruption_of_whoever_waits_ends_the_threads() -> None:
    """Ctrl-C is raised in the thread that waits; those that work must not go on without it."""

    def work(item: int) -> None:
        while True:
            time.sleep(0.01)
            checkpoint()

    def run() -> None:
        with watched(lambda stage, fraction: None):
            list(in_threads(work, range(2), 2))

    timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,))
    # Under nohup the signal is ignored unless somebody listens.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        signal.signal(signal.SIGINT, handler)
        timer.join()
    assert time.monotonic() - began < 0.2 + ON_A_BUSY_MACHINE


# A child that was started with signals ignored, as under nohup, would never be interrupted; it is told anew.
CHILD = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from correlight.cli import main\n"
    "sys.exit(main())\n"
)


@pytest.mark.parametrize(("kind", "recipe"), [("images", "auto"), ("images", "fiducials"), ("stacks", "auto")])
def test_ctrl_c_ends_the_command_line_and_leaves_nothing(kind: str, recipe: str, tmp_path: Path) -> None:
    couple = COUPLES[kind]()
    paths = []
    for name, image in (("fixed", couple.fixed), ("moving", couple.moving)):
        paths.append(str(tmp_path / f"{name}.ome.tif"))
        write_ome_tiff(tmp_path / f"{name}.ome.tif", np.asarray(image.levels[0]), image.grid, image.channels)
    before = sorted(tmp_path.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "register", *paths, "-o", "out", "--recipe", recipe],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with process:
        deadline = time.monotonic() + 60
        while sorted(tmp_path.iterdir()) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(1.0)
        assert process.poll() is None
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        took = time.monotonic() - asked
    assert process.returncode == 130
    assert said.decode() == "correlight: Interrupted; nothing was written.\n"
    assert sorted(tmp_path.iterdir()) == before
    # The interpreter has to end as well.
    assert took < 2 * ON_A_BUSY_MACHINE


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not keep processes to processors")
def test_a_process_that_may_use_one_processor_uses_one_thread() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from correlight.progress import threads; print(threads(8))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
