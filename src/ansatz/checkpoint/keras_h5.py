"""The weights of Keras: `.weights.h5`, which is HDF5, and `.keras`, a ZIP archive around one.

Needs h5py (`pip install ansatz-nn[keras]`). A model in a `.keras` archive is never built: only the
weights in it are read. Keras stores weights by position in their layer; `layers/dense/vars/0` is
called `layers.dense.0` here, and `rename_tables.KERAS` knows the layers that Keras itself names.

Refused are links of any kind, datasets that lie in other files or are composed of others, unknown
filters, and datasets that claim more values than are stored.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from ansatz.checkpoint import hdf5_attributes, zip_files
from ansatz.checkpoint.atomic import replacing
from ansatz.checkpoint.contents import (
    Contents,
    Entry,
    Opened,
    bytes_of,
    check_expansion,
    check_shape,
    checked,
    native,
)
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.writing import Verify, check_depth, check_gathered, not_as_written
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = frozenset({*NUMPY.values(), EXTENSIONS["bfloat16"]})
"""What can be written so that Keras loads it."""

_WEIGHTS = "model.weights.h5"
_MAX_DEPTH = 64
_MAX_OBJECTS = 200_000
_NOT_IN_HEADER = "which is damaged, or not kept with its object"
_FILTERS = {1, 2, 3}  # deflate, shuffle, checksums
# What h5py raises for damaged files.
_FAULTS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError)


class _Dataset(NamedTuple):
    """Where a dataset stands in the file, and what it is."""

    path: str
    entry: Entry


class _Listed(NamedTuple):
    """The datasets of a file and the names of layers, and where such a name could not be read."""

    datasets: dict[str, _Dataset]
    metadata: dict[str, str]
    nameless: list[str]


class _Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._offset + self._at)
        got = self._file.readinto(view[:count])  # type: ignore[attr-defined]
        self._at += got
        return int(got)


def open_h5(path: str | os.PathLike[str]) -> Contents:
    """Find out what a `.weights.h5` file of Keras holds.

    Raises:
        CheckpointError: it is none, is damaged, leads elsewhere, or h5py is not installed.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        listed = _listed(file, opened.size, name)

    def fetch(asked: str) -> NDArray[Any]:
        with opened.again() as again:
            return _read(again, listed.datasets[asked], f"'{asked}' in {name!r}")

    return _contents(name, "keras-h5", listed, fetch)


def open_keras(path: str | os.PathLike[str]) -> Contents:
    """Find out what the weights in a `.keras` archive are; the model in it is not built.

    Raises:
        CheckpointError: it is none, is damaged, leads elsewhere, or h5py is not installed.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        member = zip_files.members(file, opened.size, name).get(_WEIGHTS)
        if member is None:
            raise CheckpointError(f"{name!r} holds no {_WEIGHTS}; it is no archive of Keras 3")
        inside = _inside(file, member, name)
        listed = _listed(inside, member.size, name)

    def fetch(asked: str) -> NDArray[Any]:
        with opened.again() as again:
            what = f"'{asked}' in {name!r}"
            return _read(_inside(again, member, name), listed.datasets[asked], what)

    contents = _contents(name, "keras", listed, fetch)
    return dataclasses.replace(contents, archives=(name,))


def _inside(file: BinaryIO, member: zip_files.Member, path: str) -> Any:
    if member.deflated:
        return io.BytesIO(zip_files.read_member(file, member, path, member.size))
    return _Window(file, member.offset, member.size)


def _contents(name: str, kind: str, listed: _Listed, fetch: Any) -> Contents:
    entries = {key: dataset.entry for key, dataset in listed.datasets.items()}
    notes: tuple[str, ...] = ()
    if listed.nameless:
        more = f" and {len(listed.nameless) - 3} more" if len(listed.nameless) > 3 else ""
        where = ", ".join(map(repr, listed.nameless[:3])) + more
        notes = (f"the layer's name is left out, {_NOT_IN_HEADER}: {where}",)
    # HDF5 lets one thread in at a time.
    return Contents(name, kind, entries, fetch, listed.metadata, notes=notes, concurrent=False)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise CheckpointError(
            "files of Keras need h5py, which is not installed: pip install ansatz-nn[keras]"
        ) from error
    return h5py


def _listed(file: Any, size: int, path: str) -> _Listed:
    h5py = _h5py()
    datasets: dict[str, _Dataset] = {}
    metadata: dict[str, str] = {}
    nameless: list[str] = []
    try:
        with h5py.File(file, "r") as held:
            for where, node in _walk(held, path):
                if isinstance(node, h5py.Group):
                    told = _text(file, node, "name") if where.endswith("/vars") else None
                    if told is not None:
                        metadata[_dotted(where)] = told
                    elif where.endswith("/vars") and "name" in node.attrs:
                        nameless.append(where)
                    continue
                key = _dotted(where)
                if key in datasets:
                    raise CheckpointError(f"{path!r} holds two values that are called '{key}'")
                datasets[key] = _Dataset(where, _entry(file, node, size, f"'{where}' in {path!r}"))
    except CheckpointError:
        raise
    except _FAULTS as error:
        raise CheckpointError(f"{path!r} is a damaged HDF5 file ({error})") from error
    return _Listed(datasets, metadata, nameless)


def _dotted(where: str) -> str:
    return ".".join(part for part in where.strip("/").split("/") if part != "vars")


def _walk(root: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every group and dataset, reached by plain names only, each once."""
    h5py = _h5py()
    seen: set[int] = set()
    waiting = [("", root, 0)]
    while waiting:
        where, group, depth = waiting.pop()
        for name in reversed(list(group)):
            here = f"{where}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise CheckpointError(
                    f"'{here}' in {path!r} is a link ({type(link).__name__}), which may lead out "
                    "of the file; it is not followed"
                )
            node = group[name]
            address = h5py.h5o.get_info(node.id).addr
            if address in seen or depth >= _MAX_DEPTH or len(seen) >= _MAX_OBJECTS:
                raise CheckpointError(
                    f"'{here}' in {path!r} stands in two places, or is nested too deeply; the file "
                    "is not to be trusted"
                )
            seen.add(address)
            if isinstance(node, h5py.Group):
                waiting.append((here, node, depth + 1))
            elif not isinstance(node, h5py.Dataset):
                raise CheckpointError(f"'{here}' in {path!r} is neither a group nor a dataset")
            yield here, node


def _text(file: Any, node: Any, name: str) -> str | None:
    address = _h5py().h5o.get_info(node.id).addr
    return hdf5_attributes.text_of(file, address, name, node.file.userblock_size)


def _entry(file: Any, dataset: Any, size: int, what: str) -> Entry:
    h5py = _h5py()
    plan = dataset.id.get_create_plist()
    if dataset.is_virtual or plan.get_external_count():
        raise CheckpointError(f"{what} lies in other files, which are not read")
    if any(plan.get_filter(i)[0] not in _FILTERS for i in range(plan.get_nfilters())):
        raise CheckpointError(f"{what} is compressed by a filter that is not known")
    if dataset.shape is None:
        raise CheckpointError(f"{what} has no shape")
    shape = tuple(int(n) for n in dataset.shape)
    check_shape(shape, what)
    entry = Entry(shape, _dtype(file, dataset, what))
    stored = dataset.id.get_storage_size()
    packed = plan.get_layout() == h5py.h5d.CHUNKED
    if packed:
        check_expansion(entry.nbytes, size, what)
        # A chunk is unpacked as a whole, however little of it is in the array.
        chunk = math.prod(dataset.chunks or ()) * entry.dtype.itemsize
        check_expansion(chunk, size, f"a chunk of {what}")
    if stored > size or (entry.nbytes and not stored) or (not packed and stored != entry.nbytes):
        raise CheckpointError(
            f"{what} should have {entry.nbytes} bytes of values, but {stored} are stored"
        )
    return entry


def _dtype(file: Any, dataset: Any, what: str) -> np.dtype[Any]:
    stored: np.dtype[Any] = dataset.dtype
    if native(stored) in NUMPY.values():
        return NUMPY[native(stored).name]
    told = _text(file, dataset, "dtype")
    meant = EXTENSIONS.get(str(told))
    if stored.type is np.void and told is None and "dtype" in dataset.attrs:
        raise CheckpointError(
            f"{what} says its dtype in an attribute that cannot be read, {_NOT_IN_HEADER}; write "
            "the file again with h5py's defaults (no libver)"
        )
    if stored.type is not np.void or meant is None or meant.itemsize != stored.itemsize:
        raise CheckpointError(f"{what} has the dtype {stored}, which is no dtype of numbers")
    return meant


def _read(file: Any, dataset: _Dataset, what: str) -> NDArray[Any]:
    try:
        with _h5py().File(file, "r") as held:
            raw = np.asarray(held[dataset.path][()])
    except _FAULTS as error:
        raise CheckpointError(f"{what} cannot be read ({error})") from error
    if raw.dtype.type is np.void:
        raw = raw.view(dataset.entry.dtype)
    array = np.asarray(raw.astype(dataset.entry.dtype, copy=False), order="C")
    return checked(array, what)


# -- writing --------------------------------------------------------------------------------------


def write_h5(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    verify: Verify | None = None,
) -> None:
    """Write a `.weights.h5` file that Keras loads, whole or not at all; `metadata` have no place.

    Args:
        path: the file.
        arrays: by names such as `layers.dense.0`: the place of a layer in the model, then that of
            the weight in the layer, as `open_h5` gives them.
        metadata: not written.
        verify: see `Writer`.

    Raises:
        CheckpointError: a name or dtype that Keras would not find again, or bytes that do not come
            back as they were written; an older file is left as it was.
    """
    name = os.fspath(path)
    datasets = {key: _place_of(key, array, name) for key, array in arrays.items()}
    h5py = _h5py()
    with replacing(path) as file:
        with h5py.File(file, "w") as made:
            for key, array in arrays.items():
                host = np.asarray(array, order="C")
                low = host.dtype.name in EXTENSIONS
                made[datasets[key].path] = host.view(f"V{host.dtype.itemsize}") if low else host
                if low:
                    made[datasets[key].path].attrs["dtype"] = host.dtype.name
        if verify is not None:
            for key, array in arrays.items():
                back = _read(file, datasets[key], f"'{key}' in {name!r}")
                if bytes_of(back) != bytes_of(array):
                    raise not_as_written(name)
            file.flush()
            verify(file.name)


def check_names(names: Iterable[str], path: str) -> None:
    """Refuse names under which Keras would not look for a weight.

    Raises:
        CheckpointError: one is no place of a weight in a layer.
    """
    for name in names:
        _keys_of(name, path)


def _keys_of(key: str, path: str) -> tuple[list[str], str]:
    *parents, last = key.split(".")
    sound = parents and last.isdecimal() and all(parents) and "/" not in key and "\0" not in key
    if not sound or "vars" in parents:
        raise CheckpointError(
            f"{path!r} was not written: Keras finds weights by their place in a layer, such as "
            f"'layers.dense.0', and '{key}' is no such name; give such names by rename=, or, if "
            "Keras need not read it, write another format: net.save('net.safetensors')"
        )
    # The group `vars` is one level more.
    check_depth(key, [*parents, last], _MAX_DEPTH - 1, path)
    return parents, last


def _place_of(key: str, array: Any, path: str) -> _Dataset:
    parents, last = _keys_of(key, path)
    if native(array.dtype) not in DTYPES:
        raise CheckpointError(f"{path!r} was not written: '{key}' has dtype {array.dtype}")
    check_gathered(key, array, path)
    entry = Entry(tuple(array.shape), np.dtype(native(array.dtype)))
    return _Dataset("/".join([*parents, "vars", last]), entry)
