"""Files and folders that are replaced whole or not at all.

A writer that is killed leaves its temporary file or folder behind. A later one next to it removes
it, and is sure that its writer is dead: a living one holds a lock on it, which the system takes
from the dead. There are file systems whose locks other machines do not see, so it must also have
been left alone for an hour. Where there are no locks at all, nothing is removed.

A folder takes the place of an older one in a single step where the system can exchange two names,
as Linux and macOS do. Elsewhere the older one is moved aside first: who is killed between these two
steps leaves it next to the place, as `name.before-…`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.ansatz-[0-9a-f]{16}\.tmp")
_LEFT_ALONE = 3600  # Seconds.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The errors of a system that has no room for a file."""
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a new file in the place of `path`; readers see the old one or the new one.

    The bytes go to a temporary file in the same folder, which reaches the disk before it takes the
    name. Whatever fails or interrupts the body, the old file stays and the temporary one goes.

    Args:
        path: the file; a link is followed, and the permissions of an existing file are kept.

    Yields:
        A binary file, open for writing and for reading back.

    Raises:
        FileNotFoundError: the folder does not exist.
        FileExistsError: a device or a pipe is in its place.
        OSError: the file cannot be written, as on a full disk; the message names it.

    Example:
        >>> from pathlib import Path
        >>> from ansatz.checkpoint.atomic import replacing
        >>> with replacing("notes.bin") as file:
        ...     written = file.write(b"all of it")
        >>> Path("notes.bin").read_bytes()
        b'all of it'
    """
    target = Path(os.path.realpath(path))
    _check_replaceable(target, path)
    with _in_the_folder_of(target, path) as folder, _temporary_file(folder) as (temporary, file):
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _check_replaceable(target, path)
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)


def _check_replaceable(target: Path, path: str | os.PathLike[str]) -> None:
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder; give the name of a file in it")
    if target.exists() and not target.is_file():
        raise FileExistsError(
            f"{os.fspath(path)!r} is a device or a pipe, which a file cannot replace; write to a "
            "file of another name"
        )


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str], check: Callable[[Path], None]) -> Iterator[Path]:
    """Fill a new folder in the place of `path`; readers see the old one or the new one.

    Args:
        path: the folder; a link is followed, and the permissions of an existing one are kept.
        check: called with an existing folder before it is replaced; raises if that has to stay.

    Yields:
        An empty folder in the same place as the old one, to be filled.

    Raises:
        FileNotFoundError: the folder around it does not exist.
        NotADirectoryError: there is a file in its place.
        OSError: it cannot be written, as on a full disk; the message names it.
    """
    target = Path(os.path.realpath(path))
    with _in_the_folder_of(target, path) as folder, _temporary_folder(folder) as temporary:
        _check_place(target, path, check)
        yield temporary
        _sync_all(temporary)
        _check_place(target, path, check)
        if target.exists():
            shutil.copymode(target, temporary)
        _take_the_place(temporary, target)


def _check_place(target: Path, path: str | os.PathLike[str], check: Callable[[Path], None]) -> None:
    if target.is_dir():
        check(target)
    elif target.exists():
        raise NotADirectoryError(f"{os.fspath(path)!r} is a file, and a folder is to be written")


@contextlib.contextmanager
def _in_the_folder_of(target: Path, path: str | os.PathLike[str]) -> Iterator[Path]:
    """What holds for everything that is written: where, how it fails, that it stays."""
    folder = target.parent
    if not folder.is_dir():
        what = f"it cannot be written, because there is no folder {str(folder)!r}"
        raise FileNotFoundError(errno.ENOENT, what, os.fspath(path))
    _remove_what_the_dead_left(folder)
    try:
        yield folder
    except OSError as error:
        if error.errno in NO_ROOM:
            raise _no_room(error, path) from error
        if error.errno in _NOT_ALLOWED and str(error.filename).startswith(str(folder)):
            raise _not_allowed(error, folder, path) from error
        raise
    _sync(folder)


def _no_room(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """The error of the system, saying which file it was and what is there now."""
    reason = error.strerror
    return OSError(
        error.errno,
        f"{reason}: it was not written, and what was there before is as it was. It takes the room "
        "of a whole new file until it replaces the old one",
        os.fspath(path),
    )


def _not_allowed(error: OSError, folder: Path, path: str | os.PathLike[str]) -> OSError:
    """The error of the system, saying that it is the folder in which nothing can be written."""
    return type(error)(
        error.errno,
        f"{error.strerror}: it was not written, because no file can be made or replaced in the "
        f"folder {str(folder)!r}",
        os.fspath(path),
    )


@contextlib.contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file, locked and there until the end of the block, unless it is renamed in it."""
    temporary = _temporary_name(folder)
    file = open(temporary, "x+b")  # noqa: SIM115 (closed before it is renamed)
    guard = None
    try:
        if sys.platform != "win32":
            guard = os.dup(file.fileno())  # The lock has to outlast the renaming.
            _lock(guard)
        yield temporary, file
    finally:
        file.close()
        temporary.unlink(missing_ok=True)
        if guard is not None:
            os.close(guard)


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A new folder, locked until the end of the block, where whatever has its name goes."""
    temporary = _temporary_name(folder)
    temporary.mkdir()
    guard = None
    try:
        if sys.platform != "win32":
            guard = os.open(temporary, os.O_RDONLY)
            _lock(guard)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if guard is not None:
            os.close(guard)


def _temporary_name(folder: Path) -> Path:
    # Not made from the name of the target, which may be as long as names can be.
    return folder / f".ansatz-{secrets.token_hex(8)}.tmp"


def _take_the_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.rename(temporary, target)
    elif not _exchanged(temporary, target):
        aside = target.with_name(f"{target.name}.before-{secrets.token_hex(4)}")
        os.rename(target, aside)
        try:
            os.rename(temporary, target)
        except OSError:
            os.rename(aside, target)
            raise
        os.rename(aside, temporary)


_SWAP = 2  # RENAME_EXCHANGE of Linux, and RENAME_SWAP of macOS.
_HERE = -100  # AT_FDCWD: names are not relative to some other folder.


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step, which Python has no function for; false if nothing can."""
    system: Any = ctypes.CDLL(None) if sys.platform != "win32" else None
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(system, "renameat2"):
        return bool(system.renameat2(_HERE, names[0], _HERE, names[1], _SWAP) == 0)
    if hasattr(system, "renamex_np"):
        return bool(system.renamex_np(*names, _SWAP) == 0)
    return False


def _lock(descriptor: int) -> bool:
    """Whether this process has a lock now; it is gone when `descriptor` is closed."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # Another one has it, or the file system has no locks.
        return False
    return True


def _remove_what_the_dead_left(folder: Path) -> None:
    if sys.platform == "win32":
        return
    for name in filter(_TEMPORARY.fullmatch, os.listdir(folder)):
        left = folder / name
        with contextlib.suppress(OSError):
            is_folder = stat.S_ISDIR(left.lstat().st_mode)
            # Some network file systems give locks only to those who can write.
            access = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR
            descriptor = os.open(left, access | os.O_NOFOLLOW)
            try:
                inside = left.rglob("*") if is_folder else ()
                last = max(path.lstat().st_mtime for path in (left, *inside))
                if time.time() - last > _LEFT_ALONE and _lock(descriptor):
                    shutil.rmtree(left) if is_folder else left.unlink()
            finally:
                os.close(descriptor)


def _sync_all(folder: Path) -> None:
    for where, _, files in os.walk(folder, topdown=False):
        for name in files:
            with open(os.path.join(where, name), "r+b") as file:
                os.fsync(file.fileno())
        _sync(Path(where))


def _sync(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where the system lets it be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
