"""The files of `flax.serialization`: nested dicts of arrays in MessagePack.

Needs msgpack (`pip install ansatz-nn[flax]`). An array is extension 1: again MessagePack, of shape,
dtype and bytes; a NumPy scalar is extension 3. Large arrays are split into chunks by Flax and are
joined here. Nested names are joined by dots. Numbers and text become metadata.

Everything is in one piece of MessagePack, so the whole file is read to list it; each array is then
read from its own place.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.checkpoint.contents import Contents, Entry, Opened, check_shape, native, read_plain
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.writing import (
    DEEPEST,
    Verify,
    check_gathered,
    check_length,
    keys_of,
    nbytes_of,
    write_parts,
)
from ansatz.core.errors import CheckpointError, format_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = frozenset({*NUMPY.values(), *EXTENSIONS.values()})
"""What can be written."""

_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"
_MAX_CHUNK = 1 << 30  # Flax reads no longer pieces of bytes.
_LONGEST_KEY = 65535  # By longer ones, a file is not recognised.


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError as error:
        raise CheckpointError(
            "files of Flax need msgpack, which is not installed: pip install ansatz-nn[flax]"
        ) from error
    return msgpack


class _Array:
    """An array in the file: its description, and where its bytes stand."""

    def __init__(self, raw: bytes, what: str) -> None:
        self.offset = 0
        try:
            shape, dtype, self.body = _msgpack().unpackb(raw, raw=False, strict_map_key=False)
            dtype = dtype.decode() if isinstance(dtype, bytes) else dtype
            self.dtype = NUMPY.get(dtype) or EXTENSIONS[dtype]
            self.shape = tuple(shape)
            if not isinstance(self.body, bytes):
                raise TypeError("values that are no bytes")
        except Exception as error:
            raise CheckpointError(f"{what} holds an array that is damaged ({error!r})") from error
        check_shape(self.shape, what)
        if math.prod(self.shape) * self.dtype.itemsize != len(self.body):
            raise CheckpointError(
                f"{what} holds an array of {format_value(self)} with {len(self.body)} "
                "bytes; it is damaged"
            )

    def place(self, raw: bytes, start: int) -> int:
        """Find the bytes again, from `start` on, and forget them; returns where they end.

        Should equal bytes stand before them, these serve as well.
        """
        self.offset = raw.index(self.body, start)
        end = self.offset + len(self.body)
        self.body = b""
        return end

    @property
    def pieces(self) -> list[Entry]:
        """Where the values stand."""
        return [Entry(self.shape, self.dtype, self.offset)]


def open_msgpack(path: str | os.PathLike[str]) -> Contents:
    """Find out what a file of Flax holds.

    Raises:
        CheckpointError: it is none, is damaged, or msgpack is not installed.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        arrays, metadata = _flattened(file.read(), name)
    entries = {key: Entry(a.shape, a.dtype) for key, a in arrays.items()}
    places = {key: a.pieces for key, a in arrays.items()}

    def fetch(asked: str) -> NDArray[Any]:
        what = f"'{asked}' in {name!r}"
        with opened.again() as again:
            pieces = [read_plain(again, piece, what) for piece in places[asked]]
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return whole.reshape(entries[asked].shape)

    return Contents(name, "msgpack", entries, fetch, metadata)


def _flattened(raw: bytes, path: str) -> tuple[dict[str, Any], dict[str, str]]:
    what = f"{path!r}"
    end = 0

    def extension(code: int, held: bytes) -> Any:
        nonlocal end
        if code in (_ARRAY, _SCALAR):
            array = _Array(held, what)
            end = array.place(raw, end)  # They come in the order of the file.
            return array
        raise CheckpointError(f"{what} holds an unknown extension ({code})")

    try:
        root = _msgpack().unpackb(
            raw, ext_hook=extension, raw=False, strict_map_key=False, object_pairs_hook=_once
        )
    except CheckpointError:
        raise
    except Exception as error:  # Each release of msgpack has errors of its own.
        raise CheckpointError(f"{what} is damaged MessagePack ({error!r})") from error
    arrays: dict[str, Any] = {}
    metadata: dict[str, str] = {}

    def visit(value: Any, names: tuple[str, ...]) -> None:
        name = ".".join(names)
        if len(names) > DEEPEST:
            raise CheckpointError(f"{what} is nested more than {DEEPEST} deep")
        if isinstance(value, dict) and _CHUNKED in value:
            value = _joined(value, what)
        if isinstance(value, dict):
            for key, held in value.items():
                visit(held, (*names, str(key)))
        elif isinstance(value, list):
            for i, held in enumerate(value):
                visit(held, (*names, str(i)))
        elif name in arrays or name in metadata:
            raise CheckpointError(f"{what} holds two values that are called '{name}'")
        elif isinstance(value, _Array | _Joined):
            arrays[name] = value
        elif isinstance(value, str | int | float | None):
            metadata[name] = json.dumps(value)
        else:
            raise CheckpointError(f"{what} holds a {type(value).__name__} as '{name}'")

    visit(root, ())
    return arrays, metadata


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    held = {}
    for key, value in pairs:
        if not isinstance(key, str | int) or key in held:
            raise ValueError("a name that occurs twice, or is neither text nor a number")
        held[key] = value
    return held


class _Joined:
    """An array in chunks."""

    def __init__(self, shape: tuple[int, ...], chunks: list[_Array]) -> None:
        self.shape = shape
        self.dtype = chunks[0].dtype
        self.pieces = [piece for chunk in chunks for piece in chunk.pieces]
        """Where the values stand."""


def _joined(held: dict[str, Any], what: str) -> _Joined:
    try:
        sizes, parts = held["shape"], held["chunks"]
        shape = tuple(sizes[str(i)] for i in range(len(sizes)))
        chunks = [parts[str(i)] for i in range(len(parts))]
        sound = all(isinstance(c, _Array) and len(c.shape) == 1 for c in chunks) and bool(chunks)
        check_shape(shape, what)
        sound = sound and len({c.dtype for c in chunks}) == 1
        sound = sound and sum(c.shape[0] for c in chunks) == math.prod(shape)
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise CheckpointError(f"{what} holds an array in chunks that do not fit together")
    return _Joined(shape, chunks)


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    verify: Verify | None = None,
) -> None:
    """Write arrays as a nested dict that `flax.serialization` restores; `metadata` have no place.

    Raises:
        CheckpointError: a name or dtype that the format cannot express, two names of which one goes
            on where the other ends, or no array at all.
    """
    name = os.fspath(path)
    msgpack = _msgpack()
    if not arrays:
        raise CheckpointError(
            f"{name!r} was not written: there are no arrays, and without one nothing tells that a "
            "file is Flax's; use .safetensors"
        )
    places = keys_of(arrays, name)
    tree: dict[str, Any] = {}
    for key, array in arrays.items():
        check_gathered(key, array, name)
        if native(array.dtype) not in DTYPES or nbytes_of(array) > _MAX_CHUNK:
            raise CheckpointError(
                f"{name!r} was not written: '{key}' ({format_value(array)}) is more "
                "than the format holds"
            )
        for part in places[key]:
            check_length(part, _LONGEST_KEY, name)
        *parents, last = places[key]
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = array
    parts: list[Any] = []
    _pack(tree, msgpack.Packer(use_bin_type=True), parts)
    write_parts(path, parts, verify=verify)


def _pack(value: Any, packer: Any, parts: list[Any]) -> None:
    """The pieces of the file; arrays stay arrays until they are written."""
    if isinstance(value, dict):
        parts.append(packer.pack_map_header(len(value)))
        for key, held in value.items():
            parts.append(packer.pack(key))
            _pack(held, packer, parts)
        return
    nbytes = nbytes_of(value)
    head = packer.pack_array_header(3) + packer.pack(list(value.shape))
    head += packer.pack(native(value.dtype).name) + b"\xc6" + nbytes.to_bytes(4, "big")
    parts += [_extension_head(len(head) + nbytes) + head, value]


def _extension_head(length: int) -> bytes:
    """MessagePack's ext 32: a length, then the type."""
    return b"\xc9" + length.to_bytes(4, "big") + bytes([_ARRAY])
