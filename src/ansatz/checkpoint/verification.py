"""Making sure that a file is sound: everything in it is read once, and nothing is kept or run."""

from __future__ import annotations

import os

from ansatz.checkpoint import zip_files
from ansatz.checkpoint.contents import Contents
from ansatz.checkpoint.values import not_finite
from ansatz.core.progress import ReadProgress


def verify_file(contents: Contents, progress: ReadProgress | None = None) -> tuple[str, ...]:
    """Read every array of a file, and compare checksums where the format has them.

    Of a checkpoint in several files, all files; of ZIP archives, all members, whether an array
    stands in them or not.

    Args:
        contents: the file, opened, which already checked its structure.
        progress: told the name and the bytes of each part that was read; in the end these are
            `bytes_to_verify` together.

    Returns:
        What is sound but worth knowing: NaN and infinity, what the reader left out.

    Raises:
        CheckpointError: something in it is damaged.
    """
    tell = progress or (lambda name, nbytes: None)
    warnings = list(contents.notes)
    for path in contents.archives:
        _check_sums(path, tell)
    for name in contents.entries:
        array = contents.read(name)
        found = not_finite(array)
        if found:
            warnings.append(f"'{name}' holds {found}")
        tell(name, array.nbytes)
    return tuple(warnings)


def bytes_to_verify(contents: Contents) -> int:
    """How many bytes `verify_file` will read."""
    arrays = sum(entry.nbytes for entry in contents.entries.values())
    return arrays + sum(os.path.getsize(path) for path in contents.archives)


def _check_sums(path: str, tell: ReadProgress) -> None:
    with open(path, "rb") as file:
        size = left = file.seek(0, 2)
        for member in zip_files.members(file, size, path).values():
            zip_files.check_crc(file, member, path)
            left -= member.stored
            tell(f"{os.path.basename(path)}: {member.name}", member.stored)
    tell(os.path.basename(path), left)  # Headers and padding.
