"""NumPy's own files: `.npy`, one array, and `.npz`, a ZIP archive of such.

Nothing in them is unpickled. An archive also says, in an entry called `__ansatz__`, what NumPy
cannot: dtypes such as bfloat16, which come back as opaque bytes elsewhere, ties, and metadata. It
is left out where there is nothing to say. MXNet 2.0 writes the same archives under `.params`.

Refused are object arrays, text, records, headers that claim other sizes than the entry has, and
everything that `zip_files` refuses.
"""

from __future__ import annotations

import ast
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ansatz.checkpoint import zip_files
from ansatz.checkpoint.atomic import replacing
from ansatz.checkpoint.contents import (
    Contents,
    Entry,
    Opened,
    aligned,
    bytes_of,
    check_expansion,
    check_shape,
    checked,
    native,
)
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.ties import FORMAT, decode
from ansatz.checkpoint.writing import (
    Verify,
    check_gathered,
    check_length,
    nbytes_of,
    not_as_written,
    write_parts,
)
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = frozenset({*NUMPY.values(), *EXTENSIONS.values()})
"""What an archive can hold."""

NUMPY_DTYPES = frozenset(NUMPY.values())
"""What a single array can be."""

SIDE = "__ansatz__"
"""The entry that says what NumPy cannot."""

ONE = "0"
"""The name of the array of a `.npy` file."""

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 8192  # A header tells one dtype and one shape.
_MAX_SIDE = 1 << 28
_LONGEST_NAME = 65535 - len(".npy")  # An archive has two bytes for the length of a name.
_DESCR = re.compile(r"[<>|=]?[A-Za-z]\d*(\[\w+\])?")
_BFLOAT16_RECORD = [("bfloat16", "<u2")]  # MXNet's way to say it.


def _header(raw: bytes, what: str) -> tuple[dict[str, Any], int]:
    """The description of an array, and where its bytes begin after `raw[0]`."""
    if raw[:6] != _MAGIC:
        raise CheckpointError(f"{what} is no NumPy array")
    version = raw[6:8]
    if version not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise CheckpointError(f"{what} has an unknown version of the NumPy format")
    width = 2 if version == b"\x01\x00" else 4
    length = int.from_bytes(raw[8 : 8 + width], "little")
    start = 8 + width + length
    if length > _MAX_HEADER or start > len(raw):
        raise CheckpointError(f"{what} is cut off, or has an impossible header ({length} bytes)")
    try:
        text = raw[8 + width : start].decode("utf-8" if version == b"\x03\x00" else "latin-1")
        told = ast.literal_eval(text.strip())
        if sorted(told) != ["descr", "fortran_order", "shape"]:
            raise ValueError("other keys than descr, fortran_order and shape")
        shape, order = told["shape"], told["fortran_order"]
        if type(shape) is not tuple or any(type(size) is not int for size in shape):
            raise ValueError("a shape that is no tuple of integers")
        if type(order) is not bool:
            raise ValueError("an order that is neither true nor false")
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{what} has a damaged NumPy header ({error})") from error
    check_shape(shape, what)
    return told, start


def _stored_dtype(descr: Any, what: str) -> np.dtype[Any]:
    if isinstance(descr, list) and descr == _BFLOAT16_RECORD:
        return EXTENSIONS["bfloat16"]
    if not isinstance(descr, str) or not _DESCR.fullmatch(descr):
        raise CheckpointError(f"{what} has the dtype {descr!r}, which is no dtype of numbers")
    try:
        dtype = np.dtype(descr)
    except TypeError as error:
        raise CheckpointError(f"{what} has the unknown dtype {descr!r}") from error
    if dtype.hasobject:
        raise CheckpointError(
            f"{what} holds Python objects, which are pickles and could run code; they are not read"
        )
    if native(dtype) not in NUMPY.values() and not _is_opaque(dtype):
        raise CheckpointError(f"{what} has the dtype {descr!r}, which is no dtype of numbers")
    return dtype


def _is_opaque(dtype: np.dtype[Any]) -> bool:
    """Whether the file only says how many bytes a value takes."""
    return dtype.type is np.void


class _Described:
    """One array of a file: what it is, and how to get at it."""

    def __init__(self, raw: bytes, nbytes: int, what: str) -> None:
        told, self.start = _header(raw, what)
        self.stored = _stored_dtype(told["descr"], what)
        self.shape: tuple[int, ...] = told["shape"]
        self.fortran = told["fortran_order"] and len(self.shape) > 1
        claimed = math.prod(self.shape) * self.stored.itemsize
        if claimed != nbytes - self.start:
            raise CheckpointError(
                f"{what} should have {claimed} bytes of values, but has {nbytes - self.start}; it "
                "is damaged"
            )

    def entry(self, offset: int | None, dtype: np.dtype[Any] | None, what: str) -> Entry:
        """The entry, with the dtype that is meant where the stored one is opaque."""
        if dtype is None:
            dtype = native(self.stored)
        elif not _is_opaque(self.stored) or self.stored.itemsize != dtype.itemsize:
            raise CheckpointError(f"{what} is stored as {self.stored}, which cannot be {dtype}")
        plain = not self.fortran and self.stored.byteorder != ">" and offset is not None
        held = "fortran order" if self.fortran else ""
        return Entry(self.shape, dtype, offset if plain else None, held)

    def read(self, pieces: Any, dtype: np.dtype[Any], what: str) -> NDArray[Any]:
        """The array, from the pieces of its file or member."""
        if _is_opaque(dtype):
            raise CheckpointError(
                f"{what} holds {dtype.itemsize} opaque bytes a value, as NumPy writes bfloat16 and "
                "float8: which of them is not written down. Save it with save_arrays, or view it "
                "as what it is: numpy.load(path)[name].view(ml_dtypes.bfloat16)"
            )
        skip, at = self.start, 0
        raw = aligned(math.prod(self.shape) * self.stored.itemsize)
        for piece in pieces:
            body = memoryview(piece)[skip:]
            skip = max(0, skip - len(piece))
            raw[at : at + len(body)] = np.frombuffer(body, np.uint8)
            at += len(body)
        flat = raw.view(self.stored)
        if self.stored.byteorder == ">":
            flat = flat.astype(native(self.stored))
        shaped = flat.reshape(self.shape, order="F" if self.fortran else "C")
        array: NDArray[Any] = np.array(shaped, order="C", copy=self.fortran).view(dtype)
        return checked(array, what)


def open_npy(path: str | os.PathLike[str]) -> Contents:
    """Find out what a `.npy` file holds: one array, called `"0"`.

    Raises:
        CheckpointError: it is none, or is damaged.
    """
    name = os.fspath(path)
    what = f"{name!r}"
    with open(name, "rb") as file:
        opened = Opened(name, file)
        described = _Described(file.read(_MAX_HEADER + 12), opened.size, what)
    entries = {ONE: described.entry(described.start, None, what)}

    def fetch(asked: str) -> NDArray[Any]:
        if entries[asked].offset is not None and not _is_opaque(entries[asked].dtype):
            return opened.read_plain(entries, asked)
        with opened.again() as file:
            return described.read([file.read()], entries[asked].dtype, what)

    return Contents(name, "npy", entries, fetch, {"ansatz.arrays": _alone()})


def _alone() -> str:
    return json.dumps({"kind": "array", "names": [ONE]})


def open_npz(path: str | os.PathLike[str]) -> Contents:
    """Find out what a `.npz` archive holds.

    Raises:
        CheckpointError: it is none, or is damaged, or holds what is no array of numbers.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        members = zip_files.members(file, opened.size, name)
        side = members.pop(f"{SIDE}.npy", None)
        told = _side(file, side, name) if side is not None else {}
        described = {
            _array_name(member, name): (member, _describe(file, member, name))
            for member in members.values()
        }
    dtypes, metadata = told.get("dtypes", {}), told.get("metadata", {})
    entries = {}
    for key, (member, array) in described.items():
        offset = None if member.deflated else member.offset + array.start
        what = f"'{key}' in {name!r}"
        entries[key] = array.entry(offset, EXTENSIONS.get(dtypes.get(key)), what)
        check_expansion(entries[key].nbytes, opened.size, what)
    ties = decode(metadata, entries, f"'{name}'") if FORMAT in metadata else {}

    def fetch(asked: str) -> NDArray[Any]:
        entry = entries[asked]
        if entry.offset is not None and not _is_opaque(entry.dtype):
            return opened.read_plain(entries, asked)
        member, array = described[asked]
        with opened.again() as file:
            pieces = zip_files.unpacked(file, member, name)
            return array.read(pieces, entry.dtype, f"'{asked}' in {name!r}")

    return Contents(name, "npz", entries, fetch, metadata, ties, archives=(name,))


def _array_name(member: zip_files.Member, path: str) -> str:
    if not member.name.endswith(".npy"):
        raise CheckpointError(
            f"{path!r} holds the member '{member.name}', which is no array (.npy); it is not a "
            "NumPy archive"
        )
    return member.name.removesuffix(".npy")


def _describe(file: BinaryIO, member: zip_files.Member, path: str) -> _Described:
    what = f"'{member.name}' in {path!r}"
    raw = b""
    for piece in zip_files.unpacked(file, member, path):
        raw += piece[: _MAX_HEADER + 12]
        if len(raw) > _MAX_HEADER + 12:
            break
    return _Described(raw, member.size, what)


def _side(file: BinaryIO, member: zip_files.Member, path: str) -> dict[str, Any]:
    what = f"'{SIDE}' in {path!r}"
    raw = zip_files.read_member(file, member, path, _MAX_SIDE)
    described = _Described(raw, len(raw), what)
    try:
        told = json.loads(raw[described.start :])
        dtypes, metadata = told["dtypes"], told["metadata"]
        sound = all(
            isinstance(key, str) and isinstance(value, str)
            for held in (dtypes, metadata)
            for key, value in held.items()
        )
        sound = sound and all(value in EXTENSIONS for value in dtypes.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise CheckpointError(f"{path!r} is damaged: its entry '{SIDE}' is not what Ansatz writes")
    return {"dtypes": dtypes, "metadata": metadata}


# -- writing --------------------------------------------------------------------------------------


def check_one(names: Collection[str], path: str) -> None:
    """Refuse to write more, or less, than the one array of a `.npy` file.

    Raises:
        CheckpointError: there is not exactly one.
    """
    if len(names) != 1:
        raise CheckpointError(
            f"{path!r} was not written: a .npy file holds one array, not {len(names)}; use .npz, "
            "or pick one: select='name' (on the command line --select name)"
        )


def write_npy(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    verify: Verify | None = None,
) -> None:
    """Write one array to a `.npy` file, whole or not at all; `metadata` have no place.

    Raises:
        CheckpointError: there is not exactly one, or its dtype is not NumPy's.
    """
    name = os.fspath(path)
    check_one(arrays, name)
    ((key, array),) = arrays.items()
    _check_writable(key, array, name)
    if native(array.dtype) not in NUMPY.values():
        raise CheckpointError(
            f"{name!r} was not written: a .npy file cannot say that its dtype is {array.dtype}; "
            "use .npz or .safetensors"
        )
    write_parts(path, [_npy_header(array), array], verify=verify)


def write_npz(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    verify: Verify | None = None,
) -> None:
    """Write arrays to a `.npz` archive, whole or not at all; equal contents give equal bytes.

    With `verify` what was written is read back, and its checksums compared, before it takes the
    place of an older file.

    Raises:
        CheckpointError: a name or dtype that the format cannot express, or bytes that do not come
            back as they were written; an older file is left as it was.
    """
    name = os.fspath(path)
    for key, array in arrays.items():
        _check_writable(key, array, name)
        check_length(key, _LONGEST_NAME, name)
    side = _side_for(arrays, metadata or {})
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
            for key, array in {**arrays, **side}.items():
                # A date of its own would make equal contents unequal files.
                info = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
                large = nbytes_of(array) > 1 << 30
                with archive.open(info, "w", force_zip64=large) as member:
                    member.write(_npy_header(array))
                    member.write(bytes_of(array))
        if verify is not None:
            _check_written(file, {**arrays, **side}, name)
            file.flush()
            verify(file.name)


def _side_for(arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    dtypes = {k: a.dtype.name for k, a in arrays.items() if a.dtype.name in EXTENSIONS}
    if not dtypes and set(metadata) <= {FORMAT}:
        return {}
    told = json.dumps({"dtypes": dtypes, "metadata": dict(metadata)}, sort_keys=True)
    return {SIDE: np.frombuffer(told.encode(), np.uint8)}


def _check_writable(key: str, array: Any, path: str) -> None:
    if key == SIDE or not zip_files.is_safe(key) or not key:
        raise CheckpointError(f"{path!r} was not written: it cannot hold an array called {key!r}")
    if native(array.dtype) not in DTYPES:
        raise CheckpointError(
            f"{path!r} was not written: '{key}' has dtype {array.dtype}, which a NumPy file cannot "
            "hold; cast it first"
        )
    check_gathered(key, array, path)


def _npy_header(array: Any) -> bytes:
    dtype = native(array.dtype)
    descr = f"|V{dtype.itemsize}" if dtype.name in EXTENSIONS else dtype.newbyteorder("<").str
    file = io.BytesIO()
    told = {"descr": descr, "fortran_order": False, "shape": tuple(array.shape)}
    np.lib.format.write_array_header_1_0(file, told)
    return file.getvalue()


def _check_written(file: Any, arrays: Mapping[str, Any], path: str) -> None:
    size = file.seek(0, os.SEEK_END)
    try:
        found = zip_files.members(file, size, path)
        for key in arrays:
            zip_files.check_crc(file, found[f"{key}.npy"], path)
    except (CheckpointError, KeyError) as error:
        raise not_as_written(path) from error
