"""The initialisers of ONNX models: the weights, not the graph.

An ONNX file is a message of Protocol Buffers, which is a row of fields, each a number, a kind and a
value or length. Here only the fields on the way to the initialisers are looked at; the rest is
passed over by its length, so even a large model is listed without being read. Neither the onnx
package nor a generated parser is needed.

Values that lie in another file are read from there if it stands next to the model: a name with a
folder in it, and a link out of the folder, are refused.

Source: onnx.proto of ONNX (ModelProto 7, GraphProto 5, TensorProto), and the encoding of Protocol
Buffers; checked against files of onnx 1.23.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ansatz.checkpoint.bounded import Cursor
from ansatz.checkpoint.contents import Contents, Entry, Opened, check_shape, checked, read_plain
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.sharded import beside
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {
    1: NUMPY["float32"],
    2: NUMPY["uint8"],
    3: NUMPY["int8"],
    4: NUMPY["uint16"],
    5: NUMPY["int16"],
    6: NUMPY["int32"],
    7: NUMPY["int64"],
    9: NUMPY["bool"],
    10: NUMPY["float16"],
    11: NUMPY["float64"],
    12: NUMPY["uint32"],
    13: NUMPY["uint64"],
    14: NUMPY["complex64"],
    15: NUMPY["complex128"],
    16: EXTENSIONS["bfloat16"],
    17: EXTENSIONS["float8_e4m3fn"],
    18: EXTENSIONS["float8_e4m3fnuz"],
    19: EXTENSIONS["float8_e5m2"],
    20: EXTENSIONS["float8_e5m2fnuz"],
}
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DTYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
# Fields of typed values, and the dtype in which each has them; `None` for varints.
_TYPED = {4: NUMPY["float32"], 5: None, 7: None, 10: NUMPY["float64"], 11: None}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_INITIALIZERS = 1_000_000


class _Field(NamedTuple):
    """A field of a message: its value, or where its bytes stand."""

    number: int
    kind: int
    value: int
    start: int
    size: int


@dataclasses.dataclass(slots=True)
class _Tensor:
    """An initialiser as the file describes it."""

    name: str = ""
    dims: list[int] = dataclasses.field(default_factory=list)
    dtype: int = 0
    raw: tuple[int, int] | None = None
    typed: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    external: dict[str, str] = dataclasses.field(default_factory=dict)
    elsewhere: bool = False


def open_onnx(path: str | os.PathLike[str]) -> Contents:
    """Find out which initialisers an ONNX model has.

    Raises:
        CheckpointError: it is no such model, is damaged, or leads elsewhere.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        tensors = _tensors(Cursor(file, opened.size, name), name)
    entries: dict[str, Entry] = {}
    for tensor in tensors.values():
        entries[tensor.name] = _entry(tensor, name)
    files = {t.name: _external(t, entries[t.name], name) for t in tensors.values() if t.elsewhere}

    def fetch(asked: str) -> NDArray[Any]:
        what = f"'{asked}' in {name!r}"
        if asked in files:
            other, place = files[asked]
            with other.again() as again:
                return read_plain(again, place, what)
        with opened.again() as again:
            if entries[asked].offset is not None:
                return read_plain(again, entries[asked], what)
            return _read_typed(Cursor(again, opened.size, name), tensors[asked], entries[asked])

    others = dict.fromkeys(other.path for other, _ in files.values())
    return Contents(name, "onnx", entries, fetch, parts=(name, *others) if others else ())


# -- messages -------------------------------------------------------------------------------------


def _varint(cursor: Cursor, what: str) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = cursor.uint8(what)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise cursor.fault(f"{what} is a number that does not end")


def _fields(cursor: Cursor, end: int, what: str) -> Iterator[_Field]:
    """The fields up to `end`; whoever looks into one has to come back to its end."""
    while cursor.offset < end:
        key = _varint(cursor, what)
        number, kind = key >> 3, key & 7
        value = size = 0
        start = cursor.offset
        if kind == _VARINT:
            value = _varint(cursor, what)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            cursor.skip(size, what)
        elif kind == _BYTES:
            size = _varint(cursor, what)
            start = cursor.offset
            if start + size > end:
                raise cursor.fault(f"a part of {what} goes beyond its end; the file is damaged")
        else:
            raise cursor.fault(f"{what} has a field of the unknown kind {kind}; this is no model")
        yield _Field(number, kind, value, start, size)
        if kind == _BYTES:
            cursor.jump(start + size)
    if cursor.offset != end:
        raise cursor.fault(f"{what} does not end where it should; the file is damaged")


def _tensors(cursor: Cursor, path: str) -> dict[str, _Tensor]:
    found: dict[str, _Tensor] = {}
    graphs = 0
    for field in _fields(cursor, cursor.remaining, "the model"):
        if field.number != _GRAPH or field.kind != _BYTES:
            continue
        graphs += 1
        for inner in _fields(cursor, field.start + field.size, "the graph"):
            if inner.number != _INITIALIZER or inner.kind != _BYTES:
                continue
            tensor = _tensor(cursor, inner.start + inner.size)
            if tensor.name in found or not tensor.name or len(found) >= _MAX_INITIALIZERS:
                raise cursor.fault(f"the initialiser {tensor.name!r} occurs twice, or is too many")
            found[tensor.name] = tensor
    if graphs != 1:
        raise CheckpointError(f"{path!r} has {graphs} graphs, not one; it is no model of ONNX")
    return found


def _tensor(cursor: Cursor, end: int) -> _Tensor:
    tensor = _Tensor()
    for field in _fields(cursor, end, "an initialiser"):
        if field.number == _DIMS:
            sizes = _packed(cursor, field) if field.kind == _BYTES else [field.value]
            tensor.dims.extend(sizes)
            if len(tensor.dims) > 64:
                raise cursor.fault("an initialiser has more than 64 dimensions")
        elif field.number == _DTYPE:
            tensor.dtype = field.value
        elif field.number == _NAME:
            tensor.name = _text(cursor, field)
        elif field.number == _RAW:
            tensor.raw = (field.start, field.size)
        elif field.number in _TYPED:
            tensor.typed.append((field.number, field.start, field.size))
            if field.kind != _BYTES:
                raise cursor.fault("an initialiser has its values one by one, which is not read")
        elif field.number == _EXTERNAL:
            pair = {
                part.number: _text(cursor, part)
                for part in _fields(cursor, field.start + field.size, "a place")
            }
            tensor.external[pair.get(1, "")] = pair.get(2, "")
        elif field.number == _LOCATION:
            tensor.elsewhere = field.value == 1
    return tensor


def _packed(cursor: Cursor, field: _Field) -> list[int]:
    sizes: list[int] = []
    while cursor.offset < field.start + field.size and len(sizes) <= 64:
        sizes.append(_varint(cursor, "a shape"))
    return sizes


def _text(cursor: Cursor, field: _Field) -> str:
    try:
        text = cursor.take(field.size, "a text").decode()
    except UnicodeDecodeError as error:
        raise cursor.fault(f"a text is no valid UTF-8 ({error})") from error
    if "\0" in text:
        raise cursor.fault(f"the text {text[:80]!r} has a NUL")
    return text


# -- values ---------------------------------------------------------------------------------------


def _entry(tensor: _Tensor, path: str) -> Entry:
    what = f"'{tensor.name}' in {path!r}"
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise CheckpointError(f"{what} has the dtype {tensor.dtype} of ONNX, which is not read")
    shape = tuple(tensor.dims)
    check_shape(shape, what)
    entry = Entry(shape, dtype)
    if tensor.elsewhere:
        return dataclasses.replace(entry, held="in another file")
    if tensor.typed or (tensor.raw is None and entry.size):
        if len(tensor.typed) != 1 or tensor.raw is not None:
            raise CheckpointError(f"{what} has no values, or more than once")
        return dataclasses.replace(entry, held="typed values")
    start, size = tensor.raw or (0, 0)
    if size != entry.nbytes:
        raise CheckpointError(f"{what} should have {entry.nbytes} bytes of values, but has {size}")
    return dataclasses.replace(entry, offset=start)


def _external(tensor: _Tensor, entry: Entry, path: str) -> tuple[Opened, Entry]:
    """The file in which the values lie, and where."""
    told = tensor.external
    other = beside(path, told.get("location", ""))
    offset, length = told.get("offset", "0"), told.get("length", str(entry.nbytes))
    sound = offset.isdecimal() and length.isdecimal() and len(offset + length) < 40
    with open(other, "rb") as file:
        opened = Opened(other, file)
    if not sound or int(length) != entry.nbytes or int(offset) + int(length) > opened.size:
        raise CheckpointError(
            f"'{tensor.name}' in {path!r} should have {entry.nbytes} bytes of values, which "
            f"{os.path.basename(other)!r} does not have at that place"
        )
    return opened, dataclasses.replace(entry, offset=int(offset))


def _read_typed(cursor: Cursor, tensor: _Tensor, entry: Entry) -> NDArray[Any]:
    ((number, start, size),) = tensor.typed
    cursor.jump(start)
    raw = np.frombuffer(cursor.take(size, f"the values of '{tensor.name}'"), np.uint8)
    width = _TYPED[number]
    if width is not None:
        values = raw[: size - size % width.itemsize].view(width)
        wanted = entry.dtype
        # A complex number is two of them.
        values = values.view(wanted) if wanted.kind == "c" and values.size % 2 == 0 else values
    else:
        values = _varints(raw)
        # Of 16 bits and less, floating numbers are given as their bits.
        bits = np.dtype(f"u{entry.dtype.itemsize}")
        values = values.astype(bits).view(entry.dtype)
    if values.dtype != entry.dtype or values.size != entry.size:
        raise cursor.fault(f"'{tensor.name}' has other values than its shape and dtype ask for")
    return checked(values.reshape(entry.shape).copy(), f"'{tensor.name}'")


def _varints(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The numbers of a packed field, seven bits a byte, the last byte of each below 128."""
    ends = np.flatnonzero(raw < 128)
    if not raw.size or ends.size == 0:
        return np.empty(0, np.uint64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(ends[-1] + 1) - np.repeat(starts, ends - starts + 1)
    shifts = np.minimum(7 * place, 63).astype(np.uint64)
    parts = (raw[: ends[-1] + 1] & 127).astype(np.uint64) << shifts
    return np.bitwise_or.reduceat(parts, starts)
