"""Rows of runs to the Markdown tables that are read by people."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import Any

Row = dict[str, Any]
Cell = Callable[[list[Row]], str]

PROTOCOLS = {
    "near": "Rotation within ± 10°, shift within ± 10 % of the width, scale 1, not mirrored.",
    "free": "Any rotation, mirrored or not, scale 0.5 to 2.",
    "prior": "As free, and the scale is known to ± 15 %, as two files with pixel sizes claim it.",
    **{
        f"crop{percent}": f"One image shows {percent} % of the area of the other (the fixed one under even seeds, the "
        "moving one under odd); otherwise as free. Errors are those of the common part."
        for percent in (25, 10, 5)
    },
    "overlap": "Windows that have 15 to 30 % of the smaller one in common; otherwise as prior. Errors are those of the "
    "common part.",
    "stretch": "One image is stretched by 1.1 to 1.5 along its y or x axis; otherwise as prior.",
    "unrelated": "Images of different specimens, moved as under free: none may be accepted.",
    "control": "Smooth noise in place of the pixels, moved as under free: success means that frames betray the pose.",
}


def report(rows: list[Row]) -> str:
    """The page of one protocol: what it is, how it was made, a line per pair and one for all.

    Parameters
    ----------
    rows : list of dict
        As `benchmarks.accuracy` writes them, of one protocol and recipe.
    """
    if not rows:
        return "No runs yet.\n"
    protocol, recipe = rows[0]["protocol"], rows[0]["recipe"]
    commands = dict.fromkeys(row["command"] for row in rows)
    software = dict.fromkeys(f"{row['version']} ({row['commit']})" for row in rows)
    return "\n".join(
        [
            f"# Accuracy: {protocol}",
            "",
            f"{PROTOCOLS[protocol]} Recipe: {recipe}. correlight {', '.join(software)}; “+” marks uncommitted changes.",
            "Made by",
            "",
            "```bash",
            *commands,
            "```",
            "",
            table(rows),
            "",
            summary(rows),
            "",
            "Seconds run from opening the files to the result, in a fresh process per run; memory is the largest",
            f"resident set of that process. Runs at a time: {_several(rows, 'jobs')}; "
            f"threads per run: {_several(rows, 'threads')}.",
            "",
        ]
    )


def table(rows: list[Row]) -> str:
    """A Markdown table with a line per pair, in the order of their first rows, and one for all."""
    columns = _UNRELATED if rows[0]["protocol"] == "unrelated" else _COLUMNS
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["pair"], []).append(row)
    lines = [
        f"| pair | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
        *(_table_line(name, group, columns) for name, group in groups.items()),
        _table_line("**all**", rows, columns),
    ]
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    """One sentence on how far an accepted result can be trusted."""
    accepted = _with_status(rows, "accepted")
    if not accepted:
        return f"Of {len(rows)} runs none was accepted."
    right = len(accepted) - len(_accepted_and_wrong(rows))
    share = 100 * right / len(accepted)
    return f"Of {len(rows)} runs {len(accepted)} were accepted; {right} of these ({share:.1f} %) are right."


def _table_line(name: str, rows: list[Row], columns: dict[str, Cell]) -> str:
    return f"| {name} | {' | '.join(cell(rows) for cell in columns.values())} |"


def _with_status(rows: list[Row], status: str) -> list[Row]:
    return [row for row in rows if row["status"] == status]


def _accepted_and_wrong(rows: list[Row]) -> list[Row]:
    return [row for row in _with_status(rows, "accepted") if not row["success"]]


def _percent(rows: list[Row], name: str) -> str:
    return f"{100 * sum(row[name] for row in rows) / len(rows):.0f} %"


def _errors(rows: list[Row], name: str, factor: float = 1.0) -> str:
    """Median over the successes and over all; a run without a result is infinitely far off."""
    values = [(math.inf if row[name] is None else row[name] * factor, row["success"]) for row in rows]
    right = [value for value, success in values if success]
    return f"{_number(right)} / {_number([value for value, _ in values])}"


def _number(values: list[float], digits: int = 1) -> str:
    if not values:
        return "–"
    middle = median(values)
    return f"{middle:.{digits}f}" if math.isfinite(middle) else "∞"


def _known(rows: list[Row], name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None]


def _several(rows: list[Row], name: str) -> str:
    return " and ".join(str(value) for value in sorted({row[name] for row in rows}))


def _peak(rows: list[Row]) -> str:
    memory = _known(rows, "peak_memory_mb")
    return f"{max(memory):.0f}" if memory else "–"


def _count(status: str) -> Cell:
    return lambda rows: str(len(_with_status(rows, status)))


_VERDICTS: dict[str, Cell] = {status: _count(status) for status in ("accepted", "doubtful", "refused", "failed")}
_COST: dict[str, Cell] = {
    "median seconds": lambda rows: _number(_known(rows, "seconds")),
    "peak memory, MB": _peak,
}
_UNRELATED: dict[str, Cell] = {"runs": lambda rows: str(len(rows)), **_VERDICTS, **_COST}
_COLUMNS: dict[str, Cell] = {
    "runs": lambda rows: str(len(rows)),
    "success": lambda rows: _percent(rows, "success"),
    "median error, px (successes / all)": lambda rows: _errors(rows, "error_px"),
    "median error, % of width (successes / all)": lambda rows: _errors(rows, "error_fraction", 100.0),
    **_VERDICTS,
    "accepted and wrong": lambda rows: str(len(_accepted_and_wrong(rows))),
    **_COST,
    "success of doing nothing": lambda rows: _percent(rows, "doing_nothing_success"),
}
