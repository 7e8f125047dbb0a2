"""What the commands say, and the codes that they end with."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from correlight.errors import UsageError

if TYPE_CHECKING:
    from correlight.images.image import Image
    from correlight.registration.result import Result

ACCEPTED, FAILED, MISUSED, UNSURE = 0, 1, 2, 3
# How a piece of advice is followed on the command line.
_OPTIONS = {
    "pose": "--pose K",
    "limits": "--rotation, --scale, --stretch, --start, --no-mirror",
    "spacing": "--fixed-spacing, --moving-spacing or --scale A..B",
    "channel": "--fixed-channel, --moving-channel",
    "mask": "--fixed-mask, --moving-mask",
    "recipe": "--recipe NAME",
    "start": "--start FILE",
    "landmarks": "correlight landmarks",
}
FailOn = Literal["doubtful", "refused", "never"]
STOPPED = 129, 130, 143  # 128 and the number of the signal


def exit_code(
    statuses: Iterable[str | None], fail_on: FailOn | None, exit_zero: bool, usual: FailOn = "doubtful"
) -> int:
    """The code that a command ends with that wrote what it was asked for.

    Parameters
    ----------
    statuses : iterable of str or None
        Verdicts; None where there is none.
    fail_on : {"doubtful", "refused", "never"}, optional
        The least verdict that does not end with 0, if it was given.
    exit_zero : bool
        The same as "never".
    usual : {"doubtful", "refused", "never"}
        What holds where neither was given.

    Raises
    ------
    UsageError
        If both were given and contradict each other.
    """
    if exit_zero and fail_on not in (None, "never"):
        raise UsageError(f"--exit-zero and --fail-on {fail_on} contradict each other; give one of them.")
    levels = {"doubtful": {"doubtful", "refused"}, "refused": {"refused"}, "never": set[str]()}
    unwanted = levels["never" if exit_zero else fail_on or usual]
    return UNSURE if any(status in unwanted for status in statuses) else ACCEPTED


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on standard error if somebody is there to see it."""
    if not sys.stderr.isatty():
        yield lambda stage, fraction: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<10}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def show(stage: str, fraction: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=fraction)

        yield show


@contextmanager
def row_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar that counts rows, with the time that is left, on standard error if somebody is there to see it."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = MofNCompleteColumn(), BarColumn(), TimeRemainingColumn()
    # What goes into a file or a pipe must not be led to the screen.
    both = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=both) as bars:
        rows = bars.add_task("rows", total=total)
        yield lambda done: bars.update(rows, completed=done)


def tell_findings(*images: Image) -> None:
    """What was found on reading, on standard error: which part of a file was read, what else it holds, what it lacks.

    A file that was given twice says everything once.
    """
    from correlight.output.apply.saved import findings_of

    tell_found(findings_of(*images))


def tell_found(sentences: Sequence[str]) -> None:
    """The same of sentences that begin with the name of a file."""
    for sentence in sentences:
        print(printable(f"correlight: note on {sentence}."), file=sys.stderr)


def tell_notes(notes: Sequence[str]) -> None:
    """What else should be known, on standard error."""
    for note in notes:
        print(printable(f"correlight: note that {note}."), file=sys.stderr)


def printable(text: str) -> str:
    """Words without characters that would steer a terminal; names of files and what they state may hold such."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)


def tell(result: Result, folder: Path, notes: Sequence[str] = ()) -> None:
    """The verdict in a few lines on standard output, and what else should be known on standard error."""
    error = result.predicted_error
    print(f"{result.status.capitalize()} (confidence {result.verdict.confidence:.2f}), model {result.model}.")
    for reason in result.verdict.reasons:
        print(printable(f"  {reason}"))
    # A figure invites use, and of a refused result there is nothing to use.
    if math.isfinite(error.median) and result.status != "refused":
        symbol = error.grid.frame.symbol
        print(f"Predicted error: median {error.median:.3g} {symbol}, 95 % within {error.within:.3g} {symbol}.")
    for one in result.advice:
        option = _OPTIONS.get(one.about)
        print(printable(f"  Next: {one.sentence.rstrip('.')}{f' ({option})' if option else ''}."))
    print(printable(f"Report: {folder / 'report.html'}"))
    tell_notes(notes)
