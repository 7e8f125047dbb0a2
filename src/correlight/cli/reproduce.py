"""``correlight reproduce``: an earlier result, made once more and compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from correlight.cli.options import Overwrite
from correlight.cli.terminal import ACCEPTED, UNSURE, printable, progress_bar, tell_notes
from correlight.errors import UsageError
from correlight.parsing import resolved


def reproduce(
    result: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    overwrite: Overwrite = False,
) -> int:
    """Run an earlier registration again from its record, and say what differs.

    Parameters
    ----------
    result
        A result folder, or its result.json.
    output
        Where to keep the second result; without it, it is only compared.
    """
    from correlight.output.reproduce import TOLERANCE, read_recorded, run_again

    recorded = read_recorded(result)
    if output is not None and resolved(recorded.folder) in resolved(output).parents:
        raise UsageError(f"The second result cannot lie in the first, {recorded.folder}; choose a place outside of it.")
    with _folder(output, overwrite, [*recorded.asked.inputs, recorded.folder]) as folder, progress_bar() as progress:
        found = run_again(recorded, folder, progress)
    for sentence in found.differences:
        print(printable(f"Differs: {sentence}."))
    if not found.differences:
        print(
            f"The same result: the transforms lie at most {found.apart:.2g} pixels of the moving image apart "
            f"(up to {TOLERANCE:g} is the same), and {found.same_files} files are the same byte for byte."
        )
    tell_notes(found.notes)
    return UNSURE if found.differences else ACCEPTED


@contextmanager
def _folder(output: Path | None, overwrite: bool, inputs: list[Path]) -> Iterator[Path]:
    """Where the second result is written: the place that was asked for, or one that is gone afterwards."""
    from correlight.output.target import reserve

    if output is not None:
        with reserve(output, overwrite=overwrite, inputs=inputs) as folder:
            yield folder
        return
    with TemporaryDirectory(prefix="correlight-") as name:
        yield Path(name)
