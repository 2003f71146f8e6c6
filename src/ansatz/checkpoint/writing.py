"""Writing a file in parts, and making sure that they arrived."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import jax
import numpy as np

from ansatz.checkpoint.atomic import replacing
from ansatz.checkpoint.contents import bytes_of
from ansatz.core.errors import CheckpointError

_CHUNK = 1 << 24  # So many bytes are compared at a time.
_LONGEST_SHOWN = 200  # Characters of a name in a message.
DEEPEST = 64
"""How many keys may lead to an array in a tree."""


Verify = Callable[[str], None]
"""Called with the place of a new file before it takes its name; what it raises, keeps the old."""


class Writer(Protocol):
    """Writes a file of one format."""

    def __call__(
        self,
        path: str,
        arrays: Mapping[str, Any],
        metadata: Mapping[str, str],
        /,
        *,
        verify: Verify | None = None,
    ) -> None:
        """Write arrays, whole or not at all.

        Args:
            path: the file.
            arrays: anything with a shape and a dtype that NumPy can make an array of, by name.
            metadata: text by name, where the format has a place for it.
            verify: if given, what was written is read back and compared, and then this is called
                with where it stands, before it takes the place of an older file.

        Raises:
            CheckpointError: the format cannot express something, or it does not come back as it
                was written; an older file is left as it was.
        """


def write_parts(
    path: str | os.PathLike[str], parts: Sequence[Any], *, verify: Verify | None = None
) -> None:
    """Write bytes and arrays one after the other, whole or not at all.

    Args:
        path: the file.
        parts: bytes, or arrays of any layout; each array is brought to the host only while it is
            written or compared.
        verify: see `Writer`. What the system says was written is on the disk without that; the
            bytes that come back are mostly those that the system still holds in memory.

    Raises:
        CheckpointError: the bytes do not come back as they were written; an older file is left as
            it was.
        OSError: they cannot be written, as on a full disk; the same.
    """
    with replacing(path) as file:
        for part in parts:
            file.write(_raw(part))
        if verify is not None:
            _compare(file, parts, os.fspath(path))
            verify(file.name)


def _compare(file: BinaryIO, parts: Sequence[Any], path: str) -> None:
    file.flush()
    file.seek(0)
    sound = True
    for part in parts:
        expected = np.frombuffer(_raw(part), np.uint8)
        for start in range(0, len(expected), _CHUNK):
            piece = expected[start : start + _CHUNK]
            sound = sound and np.array_equal(np.frombuffer(file.read(len(piece)), np.uint8), piece)
    if not sound or file.read(1):
        raise not_as_written(path)


def not_as_written(path: str) -> CheckpointError:
    """The error for bytes that did not come back as they were written."""
    return CheckpointError(
        f"{path!r} was not written: the bytes that came back are not those that were written, so "
        "the disk or file system is faulty. An older file is left as it was."
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


def check_texts(path: str, names: Iterable[str], metadata: Mapping[Any, Any]) -> None:
    """Refuse names and metadata that are no text, or text that no file can hold.

    Args:
        path: the file, for messages.
        names: the names of the arrays.
        metadata: what is to be written with them.

    Raises:
        TypeError: metadata are something else than text by name.
        CheckpointError: text that is not valid Unicode.
    """
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(
                f"metadata is text by name, got {key!r}: {value!r}; use str(value), or json.dumps"
            )
    for text in (*names, *metadata, *metadata.values()):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CheckpointError(
                f"{path!r} was not written: {shortened(text)!r}, a name or metadata, is not valid "
                f"Unicode: {error}"
            ) from error


def check_length(name: str, longest: int, path: str) -> None:
    """Refuse a name, or a part of one, that takes more bytes than a format has room for.

    Raises:
        CheckpointError: it takes more.
    """
    if len(name.encode()) > longest:
        raise CheckpointError(
            f"{path!r} was not written: the name {shortened(name)!r} takes {len(name.encode()):,} "
            f"bytes, and the format holds {longest:,}; pass rename or use .safetensors"
        )


def check_depth(name: str, parts: Sequence[str], deepest: int, path: str) -> None:
    """Refuse a name that stands deeper in a tree than readers follow.

    Raises:
        CheckpointError: it does.
    """
    if len(parts) > deepest:
        raise CheckpointError(
            f"{path!r} was not written: dots separate the keys of a tree, so "
            f"{shortened(name)!r} would be nested {len(parts):,} deep, and {deepest} is the most "
            "that is read; pass rename or use .safetensors"
        )


def shortened(name: str) -> str:
    """A name for a message, without its middle if it is very long."""
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:60]}…{name[-30:]}"


def keys_of(names: Iterable[str], path: str) -> dict[str, tuple[str, ...]]:
    """Where each name stands in a tree of dicts: dots separate the keys.

    Args:
        names: the names.
        path: the file, for messages.

    Raises:
        CheckpointError: a name goes on where another one ends, or is nested too deeply.

    Example:
        >>> from ansatz.checkpoint.writing import keys_of
        >>> keys_of(["0.weight", "0.bias"], "net.msgpack")["0.bias"]
        ('0', 'bias')
    """
    keys = {name: tuple(name.split(".")) for name in names}
    ends = set(keys.values())
    for name, parts in keys.items():
        check_depth(name, parts, DEEPEST, path)
        if any(parts[:i] in ends for i in range(1, len(parts))):
            raise CheckpointError(
                f"{path!r} was not written: '{name}' goes on where another name ends, and a place "
                "in a tree is either an array or a dict; pass rename"
            )
    return keys


def nbytes_of(array: Any) -> int:
    """How many bytes an array takes in a file."""
    return int(np.prod(array.shape, dtype=object)) * int(array.dtype.itemsize)
