"""The safetensors format: arrays by name, and text metadata.

Layout: the length of the header (`uint64`, little-endian), the header in JSON, `{name: {dtype,
shape, data_offsets}}` with an optional `__metadata__` of text, then the bytes of all arrays in C
order without gaps.

Reading relies on the format's own reader for the layout (lengths, overlaps, holes, trailing bytes,
JSON, dtypes) and refuses besides what that one lets pass: names that occur twice, names with a NUL,
more than 32 dimensions, and truth values that are neither 0 nor 1. All of this is checked against
the size of the file before anything is allocated. Arrays are copied out of the file.

Writing is done here because the format's NumPy writer stores arrays that are not C-contiguous
wrongly, and orders metadata at random. Equal contents give equal bytes: arrays stand in order of
falling item size, then of name, which keeps every array aligned to its items.
"""

from __future__ import annotations

import functools
import json
import os
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from ansatz.checkpoint import identify
from ansatz.checkpoint.contents import Contents, Entry, Opened, check_shape, native
from ansatz.checkpoint.ties import decode
from ansatz.checkpoint.writing import Verify, check_gathered, check_texts, nbytes_of, write_parts
from ansatz.core.errors import CheckpointError

DTYPES: dict[str, np.dtype[Any]] = {
    code: np.dtype(dtype)
    for code, dtype in {
        "BOOL": np.bool_,
        "U8": np.uint8,
        "I8": np.int8,
        "U16": np.uint16,
        "I16": np.int16,
        "F16": np.float16,
        "BF16": jnp.bfloat16,
        "U32": np.uint32,
        "I32": np.int32,
        "F32": np.float32,
        "C64": np.complex64,
        "U64": np.uint64,
        "I64": np.int64,
        "F64": np.float64,
        "F8_E4M3": jnp.float8_e4m3fn,
        "F8_E5M2": jnp.float8_e5m2,
        "F8_E8M0": jnp.float8_e8m0fnu,
        "F8_E4M3FNUZ": jnp.float8_e4m3fnuz,
        "F8_E5M2FNUZ": jnp.float8_e5m2fnuz,
    }.items()
}
"""The dtypes by their names in the format."""

_CODES = {dtype: code for code, dtype in DTYPES.items()}
_METADATA = "__metadata__"
_MAX_HEADER = 100_000_000  # The format's own reader refuses longer ones.


def read_header(path: str | os.PathLike[str]) -> Contents:
    """Find out what a safetensors file holds, without reading any array.

    Raises:
        CheckpointError: it is not a safetensors file, or is damaged; the message says what it
            looks like.
        FileNotFoundError: there is no such file.

    Example:
        >>> import numpy as np
        >>> from ansatz.checkpoint import safetensors
        >>> safetensors.write("one.safetensors", {"w": np.ones((2, 3), "float32")})
        >>> safetensors.read_header("one.safetensors").entries["w"].shape
        (2, 3)
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        raise CheckpointError(
            f"{name!r} is a folder, not a safetensors file; give the name of a file in it"
        )
    with open(name, "rb") as file:
        opened = Opened(name, file)
        header = _header_bytes(file, opened.size, name)
    try:
        with safe_open(name, framework="numpy"):
            pass  # Opening checks the whole layout.
    except SafetensorError as error:
        cut = _where_cut_off(header, opened.size)
        raise CheckpointError(
            f"{name!r} is cut off: {cut}. Copy or download it again."
            if cut
            else f"{name!r} is not a sound safetensors file: {error}"
        ) from error
    return _parse(header, opened)


def _header_bytes(file: BinaryIO, size: int, name: str) -> bytes:
    head = file.read(512)
    length = int.from_bytes(head[:8], "little")
    if size >= 8 and head[8:9] == b"{" and length <= _MAX_HEADER:
        if 8 + length > size:
            raise CheckpointError(
                f"{name!r} is cut off: its header should end at byte {8 + length}, but the file "
                f"has {size} bytes. Copy or download it again."
            )
        file.seek(8)
        return file.read(length)
    if size == 0:
        raise CheckpointError(f"{name!r} is empty; a safetensors file has at least 10 bytes")
    known = identify.describe(head)
    if known is not None:
        raise CheckpointError(f"{name!r} is not a safetensors file, it is {known}")
    raise CheckpointError(
        f"{name!r} is not a safetensors file: it has {size} bytes and begins with {head[:16]!r}, "
        "where the length of a header and '{' were expected"
    )


def _where_cut_off(header: bytes, size: int) -> str:
    """Which array goes beyond the end of the file, if that is what is wrong with it."""
    try:
        ends = {
            key: 8 + len(header) + field["data_offsets"][1]
            for key, field in json.loads(header).items()
            if key != _METADATA
        }
        key = min((key for key, end in ends.items() if end > size), key=lambda key: ends[key])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return ""
    return f"the array '{key}' should end at byte {ends[key]}, but the file has {size} bytes"


def _parse(header: bytes, opened: Opened) -> Contents:
    name = opened.path
    held = json.loads(header, object_pairs_hook=lambda pairs: _without_repeats(pairs, name))
    metadata = held.pop(_METADATA, None) or {}
    start = 8 + len(header)
    entries = {}
    for key, field in sorted(held.items(), key=lambda item: item[1]["data_offsets"]):
        dtype = DTYPES.get(field["dtype"])
        if dtype is None:
            raise CheckpointError(
                f"'{key}' in {name!r} has the dtype {field['dtype']}, which cannot be read; the "
                f"dtypes that can are {', '.join(DTYPES)}"
            )
        check_shape(tuple(field["shape"]), f"'{key}' in {name!r}")
        if "\0" in key:
            raise CheckpointError(f"{name!r} holds the name {key!r}; a name cannot contain NUL")
        entries[key] = Entry(tuple(field["shape"]), dtype, start + field["data_offsets"][0])
    ties = decode(metadata, entries, f"'{name}'")
    fetch = functools.partial(opened.read_plain, entries)
    return Contents(name, "safetensors", entries, fetch, metadata, ties)


def _without_repeats(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise CheckpointError(f"{name!r} holds the name '{twice}' twice; it is damaged")
    return held


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    verify: Verify | None = None,
) -> None:
    """Write arrays to a safetensors file, whole or not at all.

    Args:
        path: the file.
        arrays: NumPy or JAX arrays of any layout by name; each is brought to the host only while
            it is written.
        metadata: text by name.
        verify: see `Writer`.

    Raises:
        CheckpointError: a name or dtype that the format cannot express, or bytes that do not come
            back as they were written; an older file is left as it was.
    """
    check_texts(os.fspath(path), arrays, metadata or {})
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header = _header(ordered, metadata or {}, os.fspath(path))
    write_parts(path, [header, *(array for _, array in ordered)], verify=verify)


def _header(ordered: list[tuple[str, Any]], metadata: Mapping[str, str], path: str) -> bytes:
    header: dict[str, Any] = {}
    if metadata:
        header[_METADATA] = dict(sorted(metadata.items()))
    end = 0
    for name, array in ordered:
        _check_writable(name, array, path)
        start, end = end, end + nbytes_of(array)
        header[name] = {
            "dtype": _CODES[native(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > _MAX_HEADER:
        raise CheckpointError(
            f"{path!r} was not written: names and metadata take {len(encoded)} bytes; the format "
            f"allows {_MAX_HEADER}"
        )
    return struct.pack("<Q", len(encoded)) + encoded


def _check_writable(name: str, array: Any, path: str) -> None:
    if name == _METADATA or "\0" in name:
        raise CheckpointError(
            f"{path!r} was not written: safetensors cannot hold an array called {name!r}"
        )
    if native(array.dtype) not in _CODES:
        raise CheckpointError(
            f"{path!r} was not written: '{name}' has dtype {array.dtype}, which safetensors cannot "
            "hold; cast it first"
        )
    check_gathered(name, array, path)
