"""Which version of the package a figure was made with."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def commit(*places: str) -> str:
    """The commit that last changed the package, or places in it; "+" where one is changed since.

    Asked for once: what is loaded does not change afterwards.
    """
    where = places or ("src",)
    return _git("log", "-1", "--format=%h", "--", *where) + ("+" if _git("status", "--porcelain", "--", *where) else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
