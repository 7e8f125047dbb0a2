"""Where output goes: reserved at the start, filled in a hidden folder, and put in its place completely or not at all.

Everything is written into a hidden folder beside the place asked for, which is renamed when it is complete. Nothing
that is found at the place is replaced unless that was allowed, and then only what correlight itself wrote (see
`correlight.output.manifest`).
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from correlight.errors import ReadError, UsageError, WriteError
from correlight.output.claim import ASIDE, OURS, PARTIAL, STAGED, cannot_be_made, claimed, remove
from correlight.output.manifest import Earlier, earlier_result, listed_in, remove_listed, result_with, write_manifest
from correlight.parsing import resolved

Stamp = tuple[int, ...] | None

# What whoever ends this process wants to know: targets that it has written, and those that it is giving their names,
# which takes moments and must not be interrupted, as nobody could say afterwards what was done.
WRITTEN: list[Path] = []
PLACING: list[Path] = []
# What is said, in place of these, by those who write one thing after the other and keep what is complete.
KEPT: list[str] = []


@contextmanager
def reserve(out: str | Path, *, overwrite: bool = False, inputs: Sequence[str | Path] = ()) -> Iterator[Path]:
    """A hidden folder to write into, which becomes ``out`` if the block ends well and vanishes if it does not.

    Parameters
    ----------
    out : str or Path
        The folder that shall appear. It gets a ``manifest.json`` that lists what was written.
    overwrite : bool
        Whether an earlier result there is replaced; it stays in place until the new one is complete. Only folders are
        replaced that hold nothing but what their manifest lists, unchanged.
    inputs : sequence of str or Path
        Files that are read meanwhile; a folder that holds one of them is not replaced, and nothing is written if one of
        them changes.

    Yields
    ------
    Path
        The hidden folder, which exists.

    Raises
    ------
    UsageError
        If ``out`` exists, now or at the end, and may not be replaced, or another run is writing it.
    ReadError
        If an input changed meanwhile, or, with the operating system's error as its cause, could not be read.
    WriteError
        If nothing can be written beside ``out``, or, with the operating system's error as its cause, if writing or
        renaming fails later.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     with reserve(Path(home) / "out") as folder:
    ...         _ = (folder / "result.json").write_text("{}")
    ...     sorted(path.name for path in Path(home).rglob("*"))
    ['manifest.json', 'out', 'result.json']
    """
    target = Path(os.path.abspath(out))
    if not target.name:
        raise UsageError(f"A folder to make was expected; {out} is the root of a disk.")
    _parent_must_exist(target, out)
    with claimed(target, out):
        earlier = _may_be_made(target, out, overwrite)
        _spare(target, inputs)
        before = _stamps(inputs)
        with _staging(target, out) as folder:
            yield folder
            _must_not_have_changed(before, out)
            write_manifest(folder)
            with _placing(out):
                _put_in_place(folder, target, out, earlier)


@contextmanager
def reserve_files(*out: str | Path, overwrite: bool = False, inputs: Sequence[str | Path] = ()) -> Iterator[Path]:
    """A hidden folder to write files into, which are moved to where they belong if the block ends well.

    Parameters
    ----------
    *out : str or Path
        The files that shall appear, all in one folder. Each is written under its own name in the hidden folder.
    overwrite : bool
        Whether earlier files there are replaced.
    inputs : sequence of str or Path
        Files that are read meanwhile, none of which may be replaced or change.

    Yields
    ------
    Path
        The hidden folder, which exists.

    Raises
    ------
    UsageError
        If one of the files exists, now or at the end, and may not be replaced, is a folder, is part of a result or of
        an input, or is being written by another run.
    ReadError, WriteError
        As for `reserve`.
    """
    targets = [Path(os.path.abspath(path)) for path in out]
    for target, name in zip(targets, out, strict=True):
        _spare(target, inputs)
        _spare_results(target, inputs)
        _parent_must_exist(target, name)
    with ExitStack() as claims:
        # In one order, so that two runs on the same files do not each hold what the other one waits for.
        for target, name in sorted(zip(targets, out, strict=True), key=lambda pair: pair[0]):
            claims.enter_context(claimed(target, name))
        for target, name in zip(targets, out, strict=True):
            if target.is_dir():
                raise UsageError(f"A file was expected as output; {name} is a folder.")
            if os.path.lexists(target) and not (target.is_symlink() or target.is_file()):
                # Replaced by a file, a device or a pipe would be gone for everybody on this machine.
                raise UsageError(f"A file was expected as output; {name} is a device, a pipe or a socket.")
            if os.path.lexists(target) and not overwrite:
                raise UsageError(f"The file {name} exists; choose another name or allow it to be overwritten.")
        before = _stamps(inputs)
        with _staging(targets[0], out[0]) as folder:
            yield folder
            _must_not_have_changed(before, out[0])
            with _placing(*out):
                _put_files_in_place(folder, targets, overwrite)


@contextmanager
def _placing(*out: str | Path) -> Iterator[None]:
    """Say that these are being given their names, and afterwards that they were."""
    PLACING.extend(Path(path) for path in out)
    try:
        yield
        WRITTEN.extend(Path(path) for path in out)
    finally:
        PLACING.clear()


@contextmanager
def _staging(target: Path, out: str | Path) -> Iterator[Path]:
    """A hidden folder beside the target that never outlives the block; failures to write come out as one sentence."""
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    with ExitStack() as cleaning:
        STAGED.append(staging)
        cleaning.callback(STAGED.remove, staging)
        cleaning.callback(remove, staging)
        try:
            staging.mkdir()
        except OSError as error:
            raise cannot_be_made(out, error) from error
        try:
            yield staging
        except ReadError:
            raise
        except OSError as error:
            raise _explained(error, staging, target, out) from (error.__cause__ or error)


def _explained(error: OSError, staging: Path, target: Path, out: str | Path) -> ReadError | WriteError:
    """One sentence about the file that an error of the operating system comes from."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    reason = cause.strerror or error.__cause__ or error
    named = cause.filename
    if isinstance(named, str | bytes | os.PathLike):
        place = Path(os.path.abspath(os.fsdecode(named)))
        if not any(home == place or home in place.parents for home in (staging, target)) and place != target.parent:
            return ReadError(
                f"{os.fsdecode(named)} could not be read ({reason}), so nothing was written; check the file and its "
                "permissions, and run it again."
            )
    return WriteError(
        f"{out} could not be written ({reason}) and nothing was left there; make room or choose another place and "
        "run it again."
    )


def _parent_must_exist(target: Path, out: str | Path) -> None:
    if not target.parent.is_dir():
        raise WriteError(f"{out} cannot be made as {target.parent} is no folder; make that one first.")


def _spare(target: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse to replace what is being read."""
    place = resolved(target)
    for path in inputs:
        file = resolved(path)
        # Names that differ can still be those of one file, on disks that do not tell small from capital letters.
        if any(_are_one(place, part) for part in (file, *file.parents)):
            raise UsageError(f"The output {target} would replace the input {path}; choose another name.")


def _spare_results(target: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse to replace a single file of a result, which would be neither the old nor a new one, or of an input."""
    if not os.path.lexists(target):
        return
    folder = result_with(target)
    if folder is not None:
        raise UsageError(f"{target} belongs to the result in {folder} and is not overwritten; choose another name.")
    for path in inputs:
        home = resolved(path)
        # Into the folder of a result somebody may have put the file.
        if home.is_dir() and listed_in(home) is None and home in resolved(target.parent / "x").parents:
            raise UsageError(f"{target} is part of the input {path} and is not overwritten; choose another name.")


def _are_one(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except (OSError, ValueError):
        return False


def _may_be_made(target: Path, out: str | Path, overwrite: bool) -> Earlier | None:
    """What would be replaced: None where nothing is."""
    if not os.path.lexists(target):
        return None
    if not target.is_dir() or target.is_symlink():
        raise UsageError(f"A folder was expected as output; {out} is something else, so choose another name.")
    if not overwrite:
        raise UsageError(f"The folder {out} exists; choose another name or allow it to be overwritten.")
    return earlier_result(target, out)


def _put_in_place(staging: Path, target: Path, out: str | Path, earlier: Earlier | None) -> None:
    """Rename the complete folder; an earlier one steps aside first and comes back if that fails."""
    if earlier is None:
        # Renaming a folder onto a file, a link or a folder that is not empty fails by itself.
        if os.path.lexists(target):
            raise _appeared(out)
        try:
            staging.rename(target)
        except OSError as error:
            if os.path.lexists(target):
                raise _appeared(out) from error
            raise
        return
    aside = staging.with_suffix(ASIDE)
    try:
        target.rename(aside)
        earlier.must_be_unchanged(aside, out)
        if os.path.lexists(target):
            raise _appeared(out)
        staging.rename(target)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(target):
            aside.rename(target)
        elif not os.path.lexists(staging):
            remove_listed(aside)
        raise
    remove_listed(aside)


def _appeared(out: str | Path) -> UsageError:
    return UsageError(
        f"Something appeared at {out} during the run; it was left as it is and nothing was written, so choose another "
        "name."
    )


def _put_files_in_place(staging: Path, targets: Sequence[Path], overwrite: bool) -> None:
    """Give every file its name; if one of them fails, those before it are as they were."""
    kept = staging / f"{ASIDE}.{secrets.token_hex(4)}"
    kept.mkdir()
    made = {target: (staging / target.name).stat() for target in targets}
    try:
        for target in targets:
            _put_file_in_place(staging / target.name, target, kept / target.name, overwrite)
    except BaseException:
        for target, ours in made.items():
            earlier = kept / target.name
            if os.path.lexists(earlier):
                os.replace(earlier, target)
            elif os.path.lexists(target) and os.path.samestat(target.lstat(), ours):
                target.unlink()
        raise


def _put_file_in_place(staged: Path, target: Path, kept: Path, overwrite: bool) -> None:
    if overwrite and os.path.lexists(target):
        try:
            os.link(target, kept, follow_symlinks=False)
        except OSError:  # a disk without hard links
            target.rename(kept)
        os.replace(staged, target)
        return
    try:
        # Unlike renaming, this never replaces anything.
        os.link(staged, target)
    except FileExistsError as error:
        raise _appeared(target) from error
    except OSError:
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError as error:
            raise _appeared(target) from error
        os.replace(staged, target)


def _stamps(inputs: Sequence[str | Path]) -> dict[str, Stamp]:
    return {str(path): _stamp(Path(path)) for path in inputs}


def _stamp(path: Path) -> Stamp:
    """What of a file or of the files in a folder changes when they are written; None where there is nothing."""
    try:
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            return found.st_ino, found.st_size, found.st_mtime_ns
        parts = [
            entry.stat()
            for folder, _, names in os.walk(path)
            if not any(OURS.fullmatch(part) for part in Path(folder).relative_to(path).parts)
            for entry in (Path(folder) / name for name in names if not OURS.fullmatch(name))
        ]
    except (OSError, ValueError):
        return None
    return len(parts), sum(part.st_size for part in parts), max((part.st_mtime_ns for part in parts), default=0)


def _must_not_have_changed(before: dict[str, Stamp], out: str | Path) -> None:
    for name, stamp in before.items():
        if _stamp(Path(name)) != stamp:
            raise ReadError(
                f"{name} changed while it was read, so {out} was not written; run it again when the file is complete."
            )
