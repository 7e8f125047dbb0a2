"""One run at a time: a target is claimed by a lock beside it, and what a killed run left there is swept.

The lock is held as long as the process lives, so it keeps a second run away and tells what a killed one left behind.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from correlight.errors import UsageError, WriteError
from correlight.output.manifest import remove_listed

PARTIAL, ASIDE, LOCK = ".partial", ".earlier", ".lock"
# What runs keep beside their targets, and what must not count as a change of a folder that is read meanwhile.
OURS = re.compile(r"\..*\.([0-9a-f]{8}\.(partial|earlier)|lock)")
_RETRIES = 3
# A link under the name of a lock leads to a file that nobody named.
_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)

# Targets that this process is writing: whoever ends it wants to know.
CLAIMED: list[Path] = []
# What must not outlive this process: hidden folders that it fills, and its locks.
STAGED: list[Path] = []
_HELD: list[_Claim] = []


class Busy(UsageError):
    """Another run is writing there at this moment."""


@contextmanager
def claimed(target: Path, out: str | Path) -> Iterator[None]:
    """Keep other runs away from a target, and clean up after those that were killed there."""
    claim = _Claim(target.with_name(f".{target.name}{LOCK}"))
    CLAIMED.append(target)
    _HELD.append(claim)
    try:
        try:
            taken = claim.take()
        except (OSError, ValueError) as error:
            raise cannot_be_made(out, error) from error
        if not taken:
            raise Busy(f"Another run is writing {out} at this moment; wait until it ends, or choose another name.")
        if claim.safe:
            _sweep(target)
        yield
    finally:
        try:
            patiently(claim.release)
        finally:
            CLAIMED.remove(target)
            _HELD.remove(claim)


def leave_nothing() -> None:
    """Remove what is left when a process ends because it was interrupted.

    An interruption that comes at the very moment when a block of `claimed`, or of `correlight.output.target`, is left
    keeps that block from cleaning up.
    """
    for folder in STAGED:
        remove(folder)
    for claim in _HELD:
        patiently(claim.release)


def held(target: Path) -> bool:
    """Whether another process has claimed a target at this moment."""
    claim = _Claim(target.with_name(f".{target.name}{LOCK}"))
    try:
        return not claim.is_free()
    except OSError:
        return False


class _Claim:
    """A lock on a file beside a target, which can be let go at any time, even in the middle of being taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._ours = False
        self.safe = True  # whether the disk knows locks, so that who holds none is gone

    def take(self) -> bool:
        """Lock the file, made if need be; False if another process holds it."""
        while True:
            self._handle = os.open(self._path, _FLAGS | os.O_CREAT, 0o666)
            if not _may_be_ours(self._handle):
                handle, self._handle = self._handle, None
                os.close(handle)
                raise FileExistsError(errno.EEXIST, f"{self._path.name} is in the way, which correlight did not make")
            held = _lock(self._handle)
            self.safe = held is True
            if held is False:
                handle, self._handle = self._handle, None
                os.close(handle)
                return False
            if self._is_there(self._handle):
                self._ours = True
                return True
            # Its holder deleted it after it was opened here.
            handle, self._handle = self._handle, None
            os.close(handle)

    def is_free(self) -> bool:
        """Whether nobody holds the file; it is left as it is."""
        handle = os.open(self._path, _FLAGS)
        try:
            return _lock(handle) is not False
        finally:
            os.close(handle)

    def _is_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Delete the file if it is ours, or nobody's, and let it go."""
        try:
            # Interrupted before anybody knew its number, it is opened once more.
            self._handle = os.open(self._path, _FLAGS) if self._handle is None else self._handle
            free = _may_be_ours(self._handle) and _lock(self._handle) is True
            ours = self._ours or (free and self._is_there(self._handle))
        except (OSError, ValueError):
            ours = False
        handle, self._handle, self._ours = self._handle, None, False
        if handle is None:
            return
        if ours and sys.platform != "win32":
            # Deleted before it is let go: whoever opened it meanwhile notices that the name is gone or another file.
            _unlink(self._path)
        os.close(handle)
        if ours and sys.platform == "win32":
            _unlink(self._path)


def _may_be_ours(handle: int) -> bool:
    """Whether a file can be a lock of correlight, which is empty; whatever else has its name is somebody's work."""
    found = os.fstat(handle)
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


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
    # Thousands of results may lie beside each other.
    near = (name for name in os.listdir(target.parent) if name.startswith(f".{target.name}."))
    for path in sorted(target.parent / name for name in near if left.fullmatch(name)):
        if path.is_symlink() or not path.is_dir():
            continue  # no run leaves such a thing
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
    patiently(lambda: shutil.rmtree(folder, ignore_errors=True))


def patiently(work: Callable[[], None]) -> None:
    """Do what cleans up, and begin anew if it is interrupted; the interruption follows."""
    stopped: KeyboardInterrupt | None = None
    for _ in range(_RETRIES):
        try:
            work()
            break
        except KeyboardInterrupt as error:
            stopped = error
    if stopped is not None:
        raise stopped
