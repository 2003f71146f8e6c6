"""The `.params` files of MXNet: a list of arrays, then a list of names.

All integers are little-endian:

    file   := uint64 0x112, uint64 0, uint64 n, record × n, uint64 m, text × m    (m is n or 0)
    text   := uint64 length, UTF-8
    shape  := int32 rank, int64 × rank
    record := uint32 version, then
      V3, V2: int32 storage, [shape stored, if sparse], shape, context, int32 dtype,
              (int32 dtype, shape) × auxiliaries, data, auxiliaries
      V1:     shape, context, int32 dtype, data
      V0:     (the version is the rank) uint32 × rank, context, int32 dtype, data

All versions are read, sparse arrays as dense ones. Written is V2, which MXNet 1.x and 2.0 load.
Names as `export` writes them (`arg:…`, `aux:…`) are given without these prefixes. What MXNet 2.0
itself writes under `.params` is a NumPy archive; see `numpy_files`.

Source: found out from files of MXNet 1.9.1 and 2.0.0b1, and checked against both.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ansatz.checkpoint.bounded import Cursor
from ansatz.checkpoint.contents import (
    MAX_RANK,
    Contents,
    Entry,
    Opened,
    check_expansion,
    check_shape,
    native,
    read_plain,
)
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.sparse_indices import check_rising, rows_of
from ansatz.checkpoint.writing import Verify, check_gathered, write_parts
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE, _ROW_SPARSE, _CSR = 0, 1, 2
_STORAGES = {_DENSE: "", _ROW_SPARSE: "row_sparse", _CSR: "csr"}
_AUXILIARIES = {_DENSE: 0, _ROW_SPARSE: 1, _CSR: 2}
_FLAGS: dict[int, np.dtype[Any]] = {
    0: NUMPY["float32"],
    1: NUMPY["float64"],
    2: NUMPY["float16"],
    3: NUMPY["uint8"],
    4: NUMPY["int32"],
    5: NUMPY["int8"],
    6: NUMPY["int64"],
    7: NUMPY["bool"],
    8: NUMPY["int16"],
    9: NUMPY["uint16"],
    10: NUMPY["uint32"],
    11: NUMPY["uint64"],
    12: EXTENSIONS["bfloat16"],
}
# MXNet 1.9.1 does not load 8 to 11.
_WRITTEN = {dtype: flag for flag, dtype in _FLAGS.items() if not 8 <= flag <= 11}
DTYPES = frozenset(_WRITTEN)
"""What can be written so that every MXNet loads it."""

_CPU = struct.pack("<ii", 1, 0)
_SMALLEST_RECORD = 8
_EXPORTED = ("arg:", "aux:")
_COUNTER = "num_batches_tracked"  # PyTorch's BatchNorm counts batches, Gluon's does not.


class _Sparse(NamedTuple):
    """A sparse array: where its values and its one or two auxiliaries stand."""

    values: Entry
    auxiliaries: tuple[Entry, ...]


def open_params(path: str | os.PathLike[str]) -> Contents:
    """Find out what a `.params` file of MXNet holds.

    Raises:
        CheckpointError: it is none, or is damaged; the message says at which byte.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        reader = _Reader(Cursor(file, opened.size, name), opened.size)
        records = reader.records()
        names = reader.names(len(records))
    entries = {key: entry for key, (entry, _) in zip(names, records, strict=True)}
    sparse = {key: held for key, (_, held) in zip(names, records, strict=True) if held is not None}

    def fetch(key: str) -> NDArray[Any]:
        with opened.again() as again:
            what = f"'{key}' in {name!r}"
            if key not in sparse:
                return read_plain(again, entries[key], what)
            values = read_plain(again, sparse[key].values, what)
            indices = [read_plain(again, entry, what) for entry in sparse[key].auxiliaries]
        return _dense(entries[key].shape, values, indices, what)

    return Contents(name, "mxnet", entries, fetch)


class _Reader:
    """The parts of a file, in the order in which they stand."""

    def __init__(self, cursor: Cursor, size: int) -> None:
        self._cursor = cursor
        self._size = size

    def records(self) -> list[tuple[Entry, _Sparse | None]]:
        """All arrays."""
        cursor = self._cursor
        if cursor.uint64("the magic number") != _MAGIC:
            raise cursor.fault("this is no parameter file of MXNet")
        cursor.uint64("a reserved field")
        count = cursor.uint64("the number of arrays")
        cursor.require(count * _SMALLEST_RECORD, f"{count} arrays")
        return [self._record(f"array {i}") for i in range(count)]

    def names(self, count: int) -> list[str]:
        """Their names; numbers where the file has none."""
        cursor = self._cursor
        told = cursor.uint64("the number of names")
        if told not in (0, count):
            raise cursor.fault(f"there are {count} arrays, but {told} names")
        names = [cursor.text(f"name {i}") for i in range(told)] or [str(i) for i in range(count)]
        if cursor.remaining:
            raise cursor.fault(f"{cursor.remaining} bytes follow after the last name")
        plain = [name.removeprefix("arg:").removeprefix("aux:") for name in names]
        exported = bool(names) and all(name.startswith(_EXPORTED) for name in names)
        # Where an argument and a statistic have one name, the prefixes stay.
        names = plain if exported and len(set(plain)) == len(names) else names
        seen: set[str] = set()
        for name in names:
            if name in seen or "\0" in name:
                fault = "has a NUL" if "\0" in name else "occurs twice"
                raise cursor.fault(f"the name {name!r} {fault}")
            seen.add(name)
        return names

    def _record(self, what: str) -> tuple[Entry, _Sparse | None]:
        cursor = self._cursor
        version = cursor.uint32(f"the version of {what}")
        if version in (_V2, _V3):
            return self._modern(version, what)
        if version == _V1:
            shape = self._shape(what)
        else:
            if not 1 <= version <= MAX_RANK:
                raise cursor.fault(
                    f"{what} has the unknown version {version:#x} (as a rank it is not 1 to "
                    f"{MAX_RANK})"
                )
            shape = struct.unpack(f"<{version}I", cursor.take(4 * version, f"the shape of {what}"))
            check_shape(shape, what)
        if not shape:
            raise cursor.fault(f"{what} is empty of content")
        dtype = self._context_and_dtype(what)
        return self._plain(shape, dtype, what), None

    def _modern(self, version: int, what: str) -> tuple[Entry, _Sparse | None]:
        cursor = self._cursor
        kind = cursor.int32(f"the storage of {what}")
        if kind not in _STORAGES or (version == _V3 and kind != _DENSE):
            raise cursor.fault(f"{what} has the unknown storage {kind}")
        stored = self._shape(what) if kind != _DENSE else ()
        shape = self._shape(what, scalar=version == _V3)
        if version == _V2 and not shape:
            raise cursor.fault(f"{what} is empty of content, so it is no parameter")
        dtype = self._context_and_dtype(what)
        if kind == _DENSE:
            return self._plain(shape, dtype, what), None
        told = []
        for _ in range(_AUXILIARIES[kind]):
            indices = self._dtype(what)
            if indices not in (NUMPY["int64"], NUMPY["int32"]):
                raise cursor.fault(f"the indices of {what} are {indices}, not integers")
            told.append((self._shape(what), indices))
        values = self._plain(stored, dtype, what)
        auxiliaries = tuple(self._plain(*each, what) for each in told)
        self._check_sparse(kind, shape, values, auxiliaries, what)
        entry = Entry(shape, dtype, held=_STORAGES[kind])
        check_expansion(entry.nbytes, self._size, what)
        return entry, _Sparse(values, auxiliaries)

    def _check_sparse(
        self,
        kind: int,
        shape: tuple[int, ...],
        values: Entry,
        auxiliaries: tuple[Entry, ...],
        what: str,
    ) -> None:
        count = values.shape[0] if values.shape else -1
        if kind == _ROW_SPARSE:
            sound = bool(shape) and values.shape[1:] == shape[1:]
            sound = sound and auxiliaries[0].shape == (count,)
        else:
            sound = len(shape) == 2 and len(values.shape) == 1
            sound = sound and auxiliaries[0].shape == (shape[0] + 1,)
            sound = sound and auxiliaries[1].shape == (count,)
        if not sound:
            raise self._cursor.fault(f"the parts of {what} contradict each other")

    def _shape(self, what: str, *, scalar: bool = False) -> tuple[int, ...]:
        cursor = self._cursor
        rank = cursor.int32(f"the rank of {what}")
        if scalar and rank == -1:
            raise cursor.fault(f"{what} is empty of content, so it is no parameter")
        if not 0 <= rank <= MAX_RANK:
            raise cursor.fault(f"{what} has {rank} dimensions; 0 to {MAX_RANK} are allowed")
        shape = cursor.int64s(rank, f"the shape of {what}")
        check_shape(shape, f"{what} (at byte {cursor.offset})")
        return shape

    def _context_and_dtype(self, what: str) -> np.dtype[Any]:
        self._cursor.take(8, f"the device of {what}")  # Where it was; it goes elsewhere now.
        return self._dtype(what)

    def _dtype(self, what: str) -> np.dtype[Any]:
        flag = self._cursor.int32(f"the dtype of {what}")
        if flag not in _FLAGS:
            raise self._cursor.fault(f"{what} has the unknown dtype {flag}")
        return _FLAGS[flag]

    def _plain(self, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> Entry:
        nbytes = math.prod(shape) * dtype.itemsize
        return Entry(shape, dtype, self._cursor.skip(nbytes, f"the values of {what}"))


def _dense(
    shape: tuple[int, ...], values: NDArray[Any], indices: list[NDArray[Any]], what: str
) -> NDArray[Any]:
    """The values of a sparse array where its one or two auxiliaries say that they belong."""
    try:
        if len(indices) == _AUXILIARIES[_CSR]:
            starts, columns = indices
            places: tuple[NDArray[Any], ...] = (rows_of(starts, columns, shape), columns)
        else:
            check_rising(indices[0], shape[0])
            places = (indices[0],)
    except ValueError as error:
        raise CheckpointError(f"{what} is damaged: {error}") from error
    dense = np.zeros(shape, values.dtype)
    dense[places] = values
    return dense


# -- writing --------------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    verify: Verify | None = None,
) -> None:
    """Write arrays to a `.params` file, whole or not at all; `metadata` have no place in it.

    Raises:
        CheckpointError: a name, dtype or shape that MXNet cannot load; an older file is left as it
            was.
    """
    name = os.fspath(path)
    parts: list[Any] = [struct.pack("<QQQ", _MAGIC, 0, len(arrays))]
    for key, array in arrays.items():
        _check_writable(key, array, name)
        shape = struct.pack(f"<i{len(array.shape)}q", len(array.shape), *array.shape)
        flag = struct.pack("<i", _WRITTEN[native(array.dtype)])
        parts += [struct.pack("<Ii", _V2, _DENSE), shape, _CPU, flag, array]
    names = [key.encode() for key in arrays]
    parts.append(struct.pack("<Q", len(names)))
    parts += [struct.pack("<Q", len(raw)) + raw for raw in names]
    write_parts(path, parts, verify=verify)


def fitted(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[tuple[int, ...] | None, str]:
    """The shape in which MXNet can hold an array, and what is lost by it; see `Format.fitted`."""
    if name.rpartition(".")[2] == "stream" and shape == (3,) and dtype == np.uint32:
        return None, f"'{name}' is a random stream, as Gluon has none: it is left out"
    if 0 in shape:
        return None, f"'{name}' has shape {shape}, without any number in it: it is left out"
    if not shape and name.endswith(_COUNTER):
        return None, f"'{name}' has shape {shape}, that Gluon does not have: it is left out"
    if not shape:
        return (1,), f"'{name}' has shape (), which MXNet cannot hold: it becomes (1,)"
    return shape, ""


def refusal(name: str, array: Any) -> str:
    """Why MXNet cannot hold this array, or an empty string."""
    if "\0" in name:
        return "a name with NUL"
    if native(array.dtype) not in DTYPES:
        return f"dtype {array.dtype}"
    if 0 in array.shape or not array.shape:
        return f"shape {tuple(array.shape)}, which means no value in MXNet"
    return ""


def _check_writable(key: str, array: Any, path: str) -> None:
    why = refusal(key, array)
    if why:
        raise CheckpointError(
            f"{path!r} was not written: '{key}' has {why}, which MXNet 1.x cannot load. Leave such "
            "arrays out, or use another format. Whole numbers, which counters and random streams "
            "are, stay out with net.save(path, select=lambda path, cell: cell.dtype.kind not in "
            "'iu')"
        )
    check_gathered(key, array, path)
