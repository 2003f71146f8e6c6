"""Files that are replaced whole or not at all.

A writer that is killed leaves its temporary file behind. A later one in the same folder removes
it, and is sure that its writer is dead: a living one holds a lock on it, which the system takes
from the dead. There are file systems whose locks other machines do not see, so the file must also
have been left alone for an hour. Where there are no locks at all, nothing is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.ansatz-[0-9a-f]{16}\.tmp")
_LEFT_ALONE = 3600  # Seconds.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    folder = target.parent
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder; give the name of a file in it")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(path)!r} cannot be written: its folder {str(folder)!r} does not exist"
        )
    _remove_what_the_dead_left(folder)
    try:
        with _temporary_file(folder) as (temporary, file):
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _no_room(error, path) from error
        raise
    _sync_folder(folder)


def _no_room(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """The error of the system, saying which file it was and what is there now."""
    reason = error.strerror
    return OSError(
        error.errno,
        f"{reason}: it was not written, and what was there before is as it was. It takes the room "
        "of a whole new file until it replaces the old one",
        os.fspath(path),
    )


@contextlib.contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file, locked and there until the end of the block, unless it is renamed in it."""
    # Not made from the name of the target, which may be as long as names can be.
    temporary = folder / f".ansatz-{secrets.token_hex(8)}.tmp"
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


def _lock(descriptor: int) -> bool:
    """Whether this process has the lock of a file now; it is gone when `descriptor` is closed."""
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
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                alone = time.time() - os.fstat(descriptor).st_mtime
                if alone > _LEFT_ALONE and _lock(descriptor):
                    os.unlink(folder / name)
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power failure, where the system lets folders be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
