"""Rows of peers to the page that is read by people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.tables import PROTOCOLS as ACCURACY_PROTOCOLS
from benchmarks.tables import Row

Counted = Callable[[Row], bool]

PROTOCOLS = {
    "near": ACCURACY_PROTOCOLS["near"],
    "multiregeval": "Rotation within ± 20°, shift within ± 10 % of the width, scale 1, not mirrored, "
    "about as far as the benchmark MultiRegEval goes.",
    "free": ACCURACY_PROTOCOLS["free"],
}
NAMES = {
    "correlight": "correlight",
    "sift": "SIFT + RANSAC (OpenCV)",
    "mattes": "Mattes MI (SimpleITK)",
    "elastix": "elastix rigid + affine",
    "ants": "ANTs affine, multi-start",
}
COLUMNS = (
    "peer",
    "runs",
    "success",
    "accepted",
    "accepted and wrong",
    "median error of the right, px",
    "median error of the right, % of width",
    "median seconds of computing",
    "largest memory, MB",
)
Z = 1.959963984540054


def page(rows: list[Row]) -> str:
    """The page of all peers: a table per protocol, and how it was made."""
    if not rows:
        return "No runs yet.\n"
    text = ["# Peers on the same draws", ""]
    for protocol, meaning in PROTOCOLS.items():
        if group := [row for row in rows if row["protocol"] == protocol]:
            text += [f"## {protocol}", "", meaning, "", table(group), ""]
    software = dict.fromkeys(f"{NAMES[row['peer']]} {row['package']}" for row in rows)
    commands = dict.fromkeys(row["command"] for row in rows)
    text += [
        "Intervals are 95 % Wilson intervals with the number of runs that the specimens are worth, as runs of one",
        "specimen succeed and fail together. Seconds are those that the processor worked, from opening the files to",
        "the result, in a fresh process with one thread; under free they include the attempt on the mirror image. For",
        "correlight they include the start of Python and the import. Memory is the largest resident set of that",
        "process, Python and the package included.",
        "",
        f"Versions: {'; '.join(software)}. Made by",
        "",
        "```bash",
        *commands,
        "```",
        "",
    ]
    return "\n".join(text)


def table(rows: list[Row]) -> str:
    """A Markdown table of one protocol with a line per peer."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|{'---:|' * (len(COLUMNS) - 1)}"]
    for peer, name in NAMES.items():
        if group := [row for row in rows if row["peer"] == peer]:
            lines.append(f"| {' | '.join([name, *_cells(group)])} |")
    return "\n".join(lines)


def _cells(rows: list[Row]) -> list[str]:
    right = [row for row in rows if row["success"]]
    memory = [row["peak_memory_mb"] for row in rows if row["peak_memory_mb"] is not None]
    return [
        str(len(rows)),
        _share(rows, lambda row: bool(row["success"])),
        _share(rows, lambda row: bool(row["accepted"])),
        _share(rows, lambda row: row["accepted"] and not row["success"]),
        _middle([row["error_px"] for row in right]),
        _middle([100 * row["error_fraction"] for row in right]),
        _middle([row["cpu_seconds"] for row in rows if row["cpu_seconds"] is not None]),
        f"{max(memory):.0f}" if memory else "–",
    ]


def _middle(values: Sequence[float]) -> str:
    return f"{median(values):.2g}" if values and median(values) < 10 else f"{median(values):.0f}" if values else "–"


def _share(rows: list[Row], counted: Counted) -> str:
    low, high = interval(rows, counted)
    share = sum(map(counted, rows)) / len(rows)
    return f"{100 * share:.0f} % ({100 * low:.0f}–{100 * high:.0f})"


def interval(rows: list[Row], counted: Counted) -> tuple[float, float]:
    """95 % interval of a share of runs, where runs of one specimen are not independent.

    Wilson's interval with the effective number of runs in place of their number: the number that would give the
    spread seen between specimens. Where all or none are counted no spread is seen, and every specimen counts once.

    Notes
    -----
    Wilson 1927, doi:10.1080/01621459.1927.10502953. That this holds up under clustering better than other intervals,
    and is still somewhat narrow with few clusters: Franco, Little, Louis and Slud 2019, PMC6690503.
    """
    number, share = len(rows), sum(map(counted, rows)) / len(rows)
    effective = _effective(rows, counted)
    middle = share + Z**2 / (2 * effective)
    width = Z * math.sqrt(share * (1 - share) / effective + Z**2 / (4 * effective**2))
    assert effective <= number
    scale = 1 + Z**2 / effective
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def _effective(rows: list[Row], counted: Counted) -> float:
    """How many independent runs the rows are worth: p (1 - p) over the variance between specimens."""
    number, share = len(rows), sum(map(counted, rows)) / len(rows)
    groups: dict[str, list[bool]] = {}
    for row in rows:
        groups.setdefault(row["specimen"], []).append(counted(row))
    if len(groups) == 1 or share in (0.0, 1.0):
        return float(len(groups))
    apart = sum((sum(group) - share * len(group)) ** 2 for group in groups.values())
    variance = apart * len(groups) / (len(groups) - 1) / number**2
    return min(float(number), max(1.0, share * (1 - share) / variance)) if variance > 0 else float(number)
