"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


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
        OSError: the file cannot be written.

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
    # Not made from the name of the target, which may be as long as names can be.
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    file = open(temporary, "x+b")  # noqa: SIM115 (closed before it is renamed)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power failure, where the system lets folders be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
