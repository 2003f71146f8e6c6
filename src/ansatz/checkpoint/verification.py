"""Making sure that a file is sound: everything in it is read once, and nothing is kept or run."""

from __future__ import annotations

from collections.abc import Callable

from ansatz.checkpoint import zip_files
from ansatz.checkpoint.contents import Contents
from ansatz.checkpoint.values import not_finite


def verify_file(
    contents: Contents, progress: Callable[[str, int], None] | None = None
) -> tuple[str, ...]:
    """Read every array of a file, and compare checksums where the format has them.

    Args:
        contents: the file, opened, which already checked its structure.
        progress: told the name and the bytes of each array that was read.

    Returns:
        What is sound but worth knowing: NaN and infinity, what the reader left out.

    Raises:
        CheckpointError: something in it is damaged.
    """
    warnings = list(contents.notes)
    if contents.format in ("npz", "torch"):
        _check_sums(contents.path)
    for name in contents.entries:
        array = contents.read(name)
        found = not_finite(array)
        if found:
            warnings.append(f"'{name}' holds {found}")
        if progress is not None:
            progress(name, array.nbytes)
    return tuple(warnings)


def _check_sums(path: str) -> None:
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        for member in zip_files.members(file, size, path).values():
            zip_files.check_crc(file, member, path)
