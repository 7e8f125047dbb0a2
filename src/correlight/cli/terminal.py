"""What the commands read and say."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from correlight.images.image import Image
    from correlight.registration.result import Result

ACCEPTED, FAILED, MISUSED, UNSURE = 0, 1, 2, 3
STOPPED = 129, 130, 143  # 128 and the number of the signal


def opened(path: Path, spacing: float | Sequence[float] | None, mask: Path | None) -> Image:
    """The image in a file, without what a mask excludes."""
    from correlight.io import read, read_mask

    image = read(path, spacing=spacing)
    if mask is None:
        return image
    return image.with_mask(read_mask(mask, image.grid.shape), f"pixels outside the given mask {mask.name} are ignored")


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


def tell(result: Result, folder: Path, notes: Sequence[str] = ()) -> None:
    """The verdict in a few lines on standard output, and what else should be known on standard error."""
    error = result.predicted_error
    print(f"{result.status.capitalize()} (confidence {result.verdict.confidence:.2f}), model {result.model}.")
    for reason in result.verdict.reasons:
        print(f"  {reason}")
    if math.isfinite(error.median):
        symbol = error.grid.frame.symbol
        print(f"Predicted error: median {error.median:.3g} {symbol}, 95 % below {error.p95:.3g} {symbol}.")
    print(f"Report: {folder / 'report.html'}")
    for note in notes:
        print(f"correlight: note that {note}.", file=sys.stderr)
