"""Writing a file in parts, and making sure that they arrived."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ansatz.checkpoint.atomic import replacing
from ansatz.checkpoint.contents import bytes_of
from ansatz.core.errors import CheckpointError

_CHUNK = 1 << 24  # So many bytes are compared at a time.


def write_verified(path: str | os.PathLike[str], parts: Sequence[Any]) -> None:
    """Write bytes and arrays one after the other, whole or not at all.

    What was written is read back and compared before it takes the place of an older file.

    Args:
        path: the file.
        parts: bytes, or arrays of any layout; each array is brought to the host only while it is
            written or compared.

    Raises:
        CheckpointError: the bytes do not come back as they were written; an older file is left as
            it was.
    """
    with replacing(path) as file:
        for part in parts:
            file.write(_raw(part))
        file.flush()
        file.seek(0)
        sound = True
        for part in parts:
            expected = memoryview(_raw(part))
            for start in range(0, len(expected), _CHUNK):
                piece = expected[start : start + _CHUNK]
                sound = sound and file.read(len(piece)) == piece
        if not sound or file.read(1):
            raise CheckpointError(
                f"{os.fspath(path)!r} was not written: the bytes that came back are not those that "
                "were written, so the disk or file system is faulty. An older file is left as it "
                "was."
            )


def _raw(part: Any) -> bytes | memoryview:
    return part if isinstance(part, bytes) else bytes_of(part)


def check_gathered(name: str, array: Any, path: str) -> None:
    """Refuse an array of which this process sees only a part.

    Raises:
        CheckpointError: it is spread over several processes.
    """
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        raise CheckpointError(
            f"{path!r} was not written: '{name}' is spread over several processes, of which this "
            "one sees only a part; gather it first"
        )


def nbytes_of(array: Any) -> int:
    """How many bytes an array takes in a file."""
    return int(np.prod(array.shape, dtype=object)) * int(array.dtype.itemsize)
