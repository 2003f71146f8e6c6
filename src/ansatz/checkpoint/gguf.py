"""GGUF files, as llama.cpp and its relatives use them.

    file   := "GGUF", uint32 version (2 or 3), uint64 tensors, uint64 pairs,
              pair × pairs, tensor × tensors, padding, data
    pair   := text key, uint32 type, value          text := uint64 length, UTF-8
    tensor := text name, uint32 rank, uint64 × rank (innermost first), uint32 type, uint64 offset

Tensors in the block formats of `gguf_blocks` are given as float32; those in others are refused by
name. Everything is checked against the bytes that are there before it is read: counts, lengths,
sizes, alignment, and that no two tensors overlap.

Source: the specification of GGUF, and files of the `gguf` library.
"""

from __future__ import annotations

import json
import math
import os
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ansatz.checkpoint import gguf_blocks
from ansatz.checkpoint.bounded import Cursor
from ansatz.checkpoint.contents import Contents, Entry, Opened, check_shape, read_plain
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {
    0: NUMPY["float32"],
    1: NUMPY["float16"],
    24: NUMPY["int8"],
    25: NUMPY["int16"],
    26: NUMPY["int32"],
    27: NUMPY["int64"],
    28: NUMPY["float64"],
    30: EXTENSIONS["bfloat16"],
}
# Of single values in pairs.
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_TEXT, _ARRAY = 8, 9
_ALIGNMENT = "general.alignment"
_MAX_DEPTH = 4
_MAX_TEXT = 1000
_SMALLEST_PAIR = 13
_SMALLEST_TENSOR = 24


class _Tensor(NamedTuple):
    """One tensor as the file describes it; `offset` counts from the beginning of the data."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    nbytes: int


def open_gguf(path: str | os.PathLike[str]) -> Contents:
    """Find out what a GGUF file holds.

    Raises:
        CheckpointError: it is none, is damaged, or holds a block format that is not read.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        cursor = Cursor(file, opened.size, name)
        metadata, tensors = _described(cursor)
        start = _start_of_data(cursor, metadata)
    _check_places(tensors, start, opened.size, name, _alignment(metadata))
    entries = {tensor.name: _entry(tensor, start) for tensor in tensors}
    quantised = {tensor.name: tensor for tensor in tensors if tensor.kind in gguf_blocks.FORMATS}

    def fetch(asked: str) -> NDArray[Any]:
        what = f"'{asked}' in {name!r}"
        with opened.again() as again:
            if asked not in quantised:
                return read_plain(again, entries[asked], what)
            held = quantised[asked]
            place = Entry((held.nbytes,), NUMPY["uint8"], start + held.offset)
            raw = read_plain(again, place, what)
        numbers = gguf_blocks.dequantised(raw, gguf_blocks.FORMATS[held.kind])
        return numbers.reshape(held.shape)

    return Contents(name, "gguf", entries, fetch, metadata)


def _entry(tensor: _Tensor, start: int) -> Entry:
    if tensor.kind in _DTYPES:
        return Entry(tensor.shape, _DTYPES[tensor.kind], start + tensor.offset)
    return Entry(tensor.shape, NUMPY["float32"], held=gguf_blocks.FORMATS[tensor.kind].name)


def _described(cursor: Cursor) -> tuple[dict[str, str], list[_Tensor]]:
    if cursor.take(4, "the magic number") != b"GGUF":
        raise cursor.fault("this is no GGUF file")
    version = cursor.uint32("the version")
    if version not in (2, 3):
        what = "big-endian" if version in (2 << 24, 3 << 24) else f"of version {version}"
        raise cursor.fault(f"the file is {what}; little-endian versions 2 and 3 are read")
    tensors, pairs = cursor.uint64("the number of tensors"), cursor.uint64("the number of pairs")
    cursor.require(pairs * _SMALLEST_PAIR + tensors * _SMALLEST_TENSOR, "pairs and tensors")
    metadata: dict[str, str] = {}
    for i in range(pairs):
        key = cursor.text(f"key {i}")
        if key in metadata:
            raise cursor.fault(f"the key {key!r} occurs twice")
        metadata[key] = json.dumps(_value(cursor, cursor.uint32(f"the type of {key!r}"), key, 0))
    held: dict[str, _Tensor] = {}
    for i in range(tensors):
        tensor = _tensor(cursor, i)
        if tensor.name in held or "\0" in tensor.name:
            raise cursor.fault(f"the name {tensor.name!r} occurs twice, or has a NUL")
        held[tensor.name] = tensor
    return metadata, list(held.values())


def _value(cursor: Cursor, kind: int, key: str, depth: int) -> Any:
    """A value of a pair; of a long text its beginning, of an array its length."""
    what = f"the value of {key!r}"
    if kind in _SCALARS:
        code = f"<{_SCALARS[kind]}"
        (value,) = struct.unpack(code, cursor.take(struct.calcsize(code), what))
        return value
    if kind == _TEXT:
        text = cursor.text(what)
        return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
    if kind != _ARRAY:
        raise cursor.fault(f"{what} is of the unknown type {kind}")
    if depth >= _MAX_DEPTH:
        raise cursor.fault(f"{what} is nested more than {_MAX_DEPTH} deep")
    inner, count = cursor.uint32(f"the type of {what}"), cursor.uint64(f"the length of {what}")
    if inner in _SCALARS:
        cursor.skip(count * struct.calcsize(f"<{_SCALARS[inner]}"), what)
    else:
        cursor.require(count * 8, what)
        for _ in range(count):
            _value(cursor, inner, key, depth + 1)
    return f"array of {count}"


def _tensor(cursor: Cursor, i: int) -> _Tensor:
    name = cursor.text(f"the name of tensor {i}")
    rank = cursor.uint32(f"the rank of {name!r}")
    cursor.require(rank * 8, f"the shape of {name!r}")
    if rank > 32:
        raise cursor.fault(f"{name!r} has {rank} dimensions")
    shape = cursor.uint64s(rank, f"the shape of {name!r}")[::-1]
    check_shape(shape, f"{name!r} (at byte {cursor.offset})")
    kind, offset = cursor.uint32(f"the type of {name!r}"), cursor.uint64(f"the place of {name!r}")
    count = math.prod(shape)
    if kind in _DTYPES:
        return _Tensor(name, shape, kind, offset, count * _DTYPES[kind].itemsize)
    blocks = gguf_blocks.FORMATS.get(kind)
    if blocks is None:
        known = ", ".join(held.name for held in gguf_blocks.FORMATS.values())
        raise cursor.fault(
            f"{name!r} is in the format {gguf_blocks.UNREAD.get(kind, kind)}, which is not read; "
            f"plain numbers are, and {known}"
        )
    if not shape or shape[-1] % blocks.size:
        raise cursor.fault(f"{name!r} of shape {shape} does not fill blocks of {blocks.size}")
    nbytes = count // blocks.size * blocks.record.itemsize
    return _Tensor(name, shape, kind, offset, nbytes)


def _alignment(metadata: dict[str, str]) -> int:
    return int(json.loads(metadata.get(_ALIGNMENT, "32")))


def _start_of_data(cursor: Cursor, metadata: dict[str, str]) -> int:
    told = metadata.get(_ALIGNMENT, "32")
    if not told.isdecimal() or not 1 <= int(told) <= 1 << 20 or int(told) & (int(told) - 1):
        raise cursor.fault(f"the alignment is {told}, not a power of two")
    return cursor.offset + -cursor.offset % int(told)


def _check_places(tensors: list[_Tensor], start: int, size: int, path: str, alignment: int) -> None:
    end = 0
    for tensor in sorted(tensors, key=lambda held: (held.offset, held.nbytes)):
        what = f"'{tensor.name}' in {path!r}"
        if tensor.offset % alignment:
            raise CheckpointError(f"{what} does not stand where its alignment asks for")
        if tensor.nbytes and tensor.offset < end:
            raise CheckpointError(f"{what} overlaps the tensor before it; the file is damaged")
        end = max(end, tensor.offset + tensor.nbytes)
        if start + tensor.offset + tensor.nbytes > size:
            raise CheckpointError(
                f"{what} should end at byte {start + end}, but the file has {size}; it is cut off "
                "or damaged"
            )
