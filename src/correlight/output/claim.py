"""One run at a time: a target is claimed by a lock beside it, and what a killed run left there is swept.

The lock is held as long as the process lives, so it keeps a second run away and tells what a killed one left behind.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from correlight.errors import UsageError, WriteError
from correlight.output.manifest import remove_listed

PARTIAL, ASIDE, LOCK = ".partial", ".earlier", ".lock"
# What runs keep beside their targets, and what must not count as a change of a folder that is read meanwhile.
OURS = re.compile(r"\..*\.([0-9a-f]{8}\.(partial|earlier)|lock)")
_RETRIES = 3

# Targets that this process is writing: whoever ends it wants to know.
CLAIMED: list[Path] = []


@contextmanager
def claimed(target: Path, out: str | Path) -> Iterator[None]:
    """Keep other runs away from a target, and clean up after those that were killed there."""
    path = target.with_name(f".{target.name}{LOCK}")
    CLAIMED.append(path)
    try:
        handle, safe = _taken(path)
    except (OSError, ValueError) as error:
        CLAIMED.remove(path)
        raise cannot_be_made(out, error) from error
    if handle is None:
        CLAIMED.remove(path)
        raise UsageError(f"Another run is writing {out} at this moment; wait until it ends, or choose another name.")
    try:
        if safe:
            _sweep(target)
        yield
    finally:
        if sys.platform == "win32":
            os.close(handle)
            _unlink(path)
        else:
            # Deleted before it is let go: whoever opened it meanwhile notices that the name is gone or another file.
            _unlink(path)
            os.close(handle)
        CLAIMED.remove(path)


def _taken(path: Path) -> tuple[int | None, bool]:
    """A lock on a file, made if need be, and whether the disk knows locks; no handle if another process holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = _lock(handle)
            if held is not False and os.path.samestat(os.fstat(handle), path.stat()):
                return handle, held is True
        except FileNotFoundError:
            held = True  # its holder deleted it after it was opened here
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if held is False:
            return None, True


def _lock(handle: int) -> bool | None:
    """Whether a file could be locked; None where the disk knows no locks, as some that are shared do not."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return


def _sweep(target: Path) -> None:
    """Remove what a killed run left, and bring back the earlier result if it died between the two renames."""
    left = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}({re.escape(PARTIAL)}|{re.escape(ASIDE)})")
    for path in sorted(entry for entry in target.parent.iterdir() if left.fullmatch(entry.name)):
        if path.suffix == PARTIAL:
            remove(path)
        elif os.path.lexists(target):
            remove_listed(path)
        else:
            path.rename(target)


def cannot_be_made(out: str | Path, error: OSError | ValueError) -> WriteError:
    """What is said where nothing can be written beside a target."""
    reason = getattr(error, "strerror", None) or error
    return WriteError(f"{out} cannot be made ({reason}); choose a place that exists and that you may write to.")


def remove(folder: Path) -> None:
    """Delete a folder of ours, even if somebody loses patience meanwhile."""
    for attempt in range(_RETRIES):
        try:
            shutil.rmtree(folder, ignore_errors=True)
            return
        except KeyboardInterrupt:
            if attempt == _RETRIES - 1:
                raise
