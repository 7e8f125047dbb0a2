"""Work beside the window leaves the interpreter as it was, however it ends."""

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.errors import UsageError
from correlight.napari.work import Job

from .conftest import PATIENCE


def test_threads_take_short_turns_while_there_is_work(qtbot: Any) -> None:
    usual, go = sys.getswitchinterval(), threading.Event()
    heard: list[str] = []

    def job(work: Callable[[], Any]) -> Job:
        def waits(progress: Callable[[str, float], None]) -> Any:
            while not go.wait(0.01):
                progress("wait", 0.0)
            return work()

        made = Job(waits, told=lambda *_: None, done=heard.append, failed=heard.append)
        assert sys.getswitchinterval() < usual
        assert gc.get_freeze_count() > 0
        return made

    def wait(*jobs: Job) -> None:
        qtbot.waitUntil(lambda: not any(each.running for each in jobs), timeout=PATIENCE)

    def fails() -> None:
        raise UsageError("It cannot be.")

    try:
        cancelled = job(list)
        cancelled.cancel()
        wait(cancelled)
        assert sys.getswitchinterval() == usual
        several = job(lambda: "done"), job(fails)
    finally:
        go.set()
    wait(*several)
    assert sorted(heard) == ["", "It cannot be.", "done"]
    # What is shown may take a while yet.
    assert sys.getswitchinterval() < usual
    for _ in range(2):
        several[0].end()
    assert sys.getswitchinterval() == usual
    assert gc.get_freeze_count() == 0


def test_what_stays_done_is_told_of_though_it_was_cancelled_too_late(qtbot: Any) -> None:
    go = threading.Event()
    heard: list[str] = []

    def work(progress: Callable[[str, float], None]) -> str:
        go.wait(PATIENCE / 1000)
        return "written"

    jobs = [
        Job(work, told=lambda *_: None, done=heard.append, failed=heard.append, stays=stays) for stays in (True, False)
    ]
    for each in jobs:
        each.cancel()
    go.set()
    qtbot.waitUntil(lambda: not any(each.running for each in jobs), timeout=PATIENCE)
    for each in jobs:
        each.end()
    assert sorted(heard) == ["", "written"]
