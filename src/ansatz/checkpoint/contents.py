"""What a file of arrays is to the rest of Ansatz, whatever its format.

Entry
    One array as the file describes it: shape and dtype, known before any of its bytes is read.
Contents
    The entries of a file by name, with its ties and its text metadata. Opening a file reads and
    checks descriptions only; `Contents.read` reads one array, into memory of its own.

A file is not trusted. Every length in it is compared with the bytes that are there before anything
is allocated, sizes are computed without overflow, and an array that would take far more memory than
the file has bytes is refused (`check_expansion`).

Arrays are copied out of the file, once and to where they stay, rather than mapped: a mapped array
would change with the file, and would end the process where the file is cut meanwhile.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedReader
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ansatz.checkpoint.parallel import in_order
from ansatz.checkpoint.ties import Ties
from ansatz.core.errors import CheckpointError, format_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_RANK = 32
"""As many dimensions as every version of NumPy has."""

_MAX_SIZE = 1 << 58  # Elements: NumPy counts bytes in 63 bits, also of arrays without any.
_ALIGNMENT = 64  # XLA's CPU client adopts a host buffer without a copy if it is aligned so.
_FREE_EXPANSION = 1 << 26  # An array may always take so many bytes,
_EXPANSION = 100  # and so many for each byte of its file.


@dataclasses.dataclass(frozen=True, slots=True)
class Described:
    """An array of which shape and dtype are known before it is read.

    Attributes:
        shape: its shape.
        dtype: its dtype, as it is read.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes once it is read."""
        return self.size * self.dtype.itemsize


@dataclasses.dataclass(frozen=True, slots=True)
class Entry(Described):
    """One array of a file.

    Attributes:
        offset: where its bytes begin, from the beginning of the file; `None` if they do not stand
            there in one piece, just as they are read.
        held: how the file holds it, if not plainly: `"csr"`, `"Q4_0"`, `"strided"`.
    """

    offset: int | None = None
    held: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class LazyArray(Described):
    """An array that is read anew each time NumPy asks for its values.

    Attributes:
        read: gives its values.
    """

    read: Callable[[], NDArray[Any]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds; the arrays are read when they are asked for.

    Attributes:
        path: the file.
        format: the name of its format.
        entries: its arrays by name, in file order.
        fetch: reads one of them by name.
        metadata: its text metadata.
        ties: the other names of these arrays. They may be entries, too.
        notes: what is worth knowing of the file, one sentence each.
        concurrent: whether several threads may read arrays of it at once, and gain by that.
        archives: the files of it that are ZIP archives, whose members have checksums.
        parts: the files that it is in, where these are several.
    """

    path: str
    format: str
    entries: Mapping[str, Entry]
    fetch: Callable[[str], NDArray[Any]]
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ties: Ties = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    concurrent: bool = True
    archives: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def read(self, name: str) -> NDArray[Any]:
        """The array called `name`: its own copy, C-contiguous, in the byte order of this machine.

        Raises:
            CheckpointError: the file was replaced or cut since it was opened, or the bytes of the
                array are no values of its dtype.
        """
        entry = self.entries[name]
        array = self.fetch(name)
        if array.shape != entry.shape or array.dtype != entry.dtype:
            raise CheckpointError(
                f"'{name}' in {self.path!r} was described as {format_value(entry)}, but "
                f"is {format_value(array)}; the file is damaged"
            )
        return array

    def read_all(self, names: Sequence[str]) -> Iterator[NDArray[Any]]:
        """The arrays of these names, one after the other; see `read`."""
        nbytes = sum(self.entries[name].nbytes for name in names) if self.concurrent else 0
        return in_order(self.read, names, nbytes)

    def with_aliases(self) -> Contents:
        """The same with an entry for every name, also for those that the file only tells."""
        entries = dict(self.entries)
        told: dict[str, tuple[str, bool]] = {}
        for kept, others in self.ties.items():
            for alias in others:
                if alias.name not in entries:
                    told[alias.name] = (kept, alias.transposed)
                    shape = self.entries[kept].shape
                    shape = shape[::-1] if alias.transposed else shape
                    entries[alias.name] = Entry(shape, self.entries[kept].dtype, held="tied")

        def fetch(name: str) -> NDArray[Any]:
            kept, transposed = told.get(name, (name, False))
            array = self.fetch(kept)
            return np.array(array.T, order="C") if transposed else array

        return dataclasses.replace(self, entries=entries, fetch=fetch)


class Opened:
    """A file whose description was read, and which has to be still the same when its arrays are.

    Args:
        path: the file.
        file: the file, open.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path = path
        self._stamp = _stamp(file)
        self.size = self._stamp[1]

    def again(self) -> BufferedReader:
        """The file, opened once more.

        Raises:
            CheckpointError: it is another one, or has changed.
        """
        file = open(self.path, "rb")  # noqa: SIM115 (the caller closes it)
        if _stamp(file) != self._stamp:
            file.close()
            raise CheckpointError(
                f"{self.path!r} has changed since it was opened. Open or load it again."
            )
        return file

    def read_plain(self, entries: Mapping[str, Entry], name: str) -> NDArray[Any]:
        """An array whose bytes stand in the file as they are to be read, little-endian."""
        with self.again() as file:
            return read_plain(file, entries[name], f"'{name}' in {self.path!r}")


def _stamp(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def read_plain(file: BinaryIO, entry: Entry, what: str) -> NDArray[Any]:
    """The bytes at `entry.offset` as an array.

    Args:
        file: the file.
        entry: where they stand, and what they are.
        what: the array, for messages.

    Raises:
        CheckpointError: bytes are missing, or are no truth values where these should be.
    """
    assert entry.offset is not None
    raw = aligned(entry.nbytes)
    file.seek(entry.offset)
    if file.readinto(raw.data) != entry.nbytes:  # type: ignore[attr-defined]
        raise CheckpointError(f"{what} is cut off; copy or download it again")
    return checked(raw.view(entry.dtype).reshape(entry.shape), what)


def aligned(nbytes: int) -> NDArray[np.uint8]:
    """Uninitialised bytes that JAX can take over without a copy."""
    raw = np.empty(nbytes + _ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % _ALIGNMENT
    return raw[skip : skip + nbytes]


def checked(array: NDArray[Any], what: str) -> NDArray[Any]:
    """The same array, if its bytes are values of its dtype.

    Raises:
        CheckpointError: a truth value is neither 0 nor 1.
    """
    if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise CheckpointError(f"{what} holds truth values that are neither 0 nor 1; it is damaged")
    return array


def check_shape(shape: tuple[int, ...], what: str) -> None:
    """Refuse shapes that no array can have.

    Raises:
        CheckpointError: a dimension is negative or immense, or there are too many.
    """
    if len(shape) > MAX_RANK:
        raise CheckpointError(f"{what} has {len(shape)} dimensions; {MAX_RANK} are allowed")
    sound = all(type(size) is int and size >= 0 for size in shape)
    if not sound or math.prod(size or 1 for size in shape) > _MAX_SIZE:
        raise CheckpointError(f"{what} has a shape that no array can have")


def check_expansion(nbytes: int, file_size: int, what: str) -> None:
    """Refuse what would take far more memory than the file has bytes.

    Args:
        nbytes: how many bytes it would take.
        file_size: how many bytes the file has.
        what: the array or archive, for messages.

    Raises:
        CheckpointError: it would take more than 64 MiB and 100 bytes for each byte of the file.
    """
    allowed = _FREE_EXPANSION + _EXPANSION * file_size
    if nbytes > allowed:
        raise CheckpointError(
            f"{what} would take {nbytes:,} bytes, but the file has only {file_size:,}; more than "
            f"{allowed:,} are not allocated for such a file"
        )


def native(dtype: Any) -> Any:
    """The same dtype in the byte order of this machine; those of JAX have no other."""
    return dtype.newbyteorder("=") if getattr(dtype, "byteorder", "=") in "<>" else dtype


def bytes_of(array: Any) -> memoryview:
    """The bytes in C order, little-endian; a dimensionless array keeps its one element."""
    host = np.asarray(array, order="C")
    if host.dtype.byteorder == ">":
        host = host.astype(host.dtype.newbyteorder("<"))
    return host.reshape(-1).view(np.uint8).data
