"""Checkpoints of Orbax: a folder with a description of the tree, and arrays in zarr.

Needs tensorstore (`pip install ansatz-nn[orbax]`), which Orbax itself reads and writes with, but
not Orbax. Names are the keys of the tree joined by dots; positions in a list are numbers, as
everywhere in Ansatz. What is written is a tree of dicts in OCDBT, as Orbax writes by default, of
NumPy arrays: it restores onto any devices, also without a target. Metadata and ties are its
`custom_metadata`.

The description is read here; the arrays are tensorstore's to read. Refused are links within the
folder, names that lead out of it, compressions that Orbax does not use, and arrays or chunks that
claim far more values than the folder has bytes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.checkpoint.atomic import NO_ROOM, replacing_folder
from ansatz.checkpoint.contents import (
    Contents,
    Entry,
    bytes_of,
    check_expansion,
    check_shape,
    checked,
    native,
)
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.ties import FORMAT, decode
from ansatz.checkpoint.writing import Verify, check_gathered, check_length, keys_of, not_as_written
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA = "_METADATA"
"""The file that makes a folder a checkpoint of Orbax."""

CHECKPOINT_METADATA = "_CHECKPOINT_METADATA"
"""The file that tells when it was made, and what its author had to say."""

DTYPES = frozenset(
    # tensorstore does not know the two others.
    {*NUMPY.values(), *EXTENSIONS.values()} - {EXTENSIONS["float8_e4m3"], EXTENSIONS["uint4"]}
)
"""What can be written so that Orbax restores it."""

_ITEMS = ("", "default", "state", "pytree")  # Where a manager puts the one item of a step.
_MAX_METADATA = 1 << 25
_LONGEST_NAME = 60_000  # bytes; the keys of its database have 65,535, and it adds to them.
_MAX_VALUES = 1_500_000  # in a description; each array takes some twenty
_COMPRESSIONS = (None, "zstd", "gzip", "zlib")
_HANDLER = "orbax.checkpoint._src.handlers.standard_checkpoint_handler.StandardCheckpointHandler"
_DICT_KEY = 2
_BATCH = 1 << 26  # Bytes that are being written at a time.
# What Orbax writes at the top of a folder. Whatever else is there, somebody put there.
_OWN = re.compile(
    r"_METADATA|_CHECKPOINT_METADATA|_sharding|_strings\.json|array_metadatas|descriptor|d|"
    r"manifest\.ocdbt|ocdbt\.process_\d+|commit_success\.txt"
)


def find(folder: str) -> str | None:
    """The folder with the description: this one, or the one item that a manager put in it."""
    for item in _ITEMS:
        inside = os.path.join(folder, item) if item else folder
        if os.path.isfile(os.path.join(inside, METADATA)):
            return inside
    return None


def open_orbax(path: str | os.PathLike[str]) -> Contents:
    """Find out what a checkpoint of Orbax holds.

    Raises:
        CheckpointError: it is none, is damaged, leads elsewhere, or tensorstore is not installed.
    """
    folder = os.path.abspath(path)
    if os.path.islink(folder) and os.path.basename(folder) in _ITEMS:
        raise CheckpointError(f"{folder!r} is a link, which may lead elsewhere; not followed")
    stamp = _stamp(folder)
    stores: dict[str, Any] = {}
    entries: dict[str, Entry] = {}
    with _unchanged(folder, stamp):
        size = _size_without_links(folder)
        described, layout = _described(folder)
        context = _tensorstore().Context()  # Of its own: no cache outlives a folder.
        for keys in described:
            name, what = ".".join(keys), f"'{'.'.join(keys)}' in {folder!r}"
            if name in entries:
                raise CheckpointError(f"{folder!r} holds two values that are called '{name}'")
            stores[name] = _opened(folder, name, layout, context, what)
            entries[name] = _entry(stores[name], size, what)
        metadata = _custom_metadata(folder)
    ties = decode(metadata, entries, repr(folder)) if FORMAT in metadata else {}

    def fetch(asked: str) -> NDArray[Any]:
        what = f"'{asked}' in {folder!r}"
        with _unchanged(folder, stamp):
            raw = _read(stores[asked], what)
        return checked(np.array(raw, entries[asked].dtype, order="C"), what)

    # tensorstore has threads of its own.
    return Contents(folder, "orbax", entries, fetch, metadata, ties, concurrent=False)


@contextlib.contextmanager
def _unchanged(folder: str, stamp: tuple[int, ...]) -> Iterator[None]:
    """What is read in it belongs to the checkpoint of this stamp."""
    fault = None
    try:
        yield
    except (CheckpointError, OSError) as error:
        fault = error
    if _stamp(folder) != stamp:
        raise CheckpointError(
            f"{folder!r} has changed since it was opened. Open or load it again."
        ) from fault
    if fault is not None:
        raise fault


def _stamp(folder: str) -> tuple[int, ...]:
    """What tells one checkpoint from another in its place."""
    try:
        status = os.stat(os.path.join(folder, METADATA))
    except OSError:
        return ()
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _size_without_links(folder: str) -> int:
    size = 0
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            if os.path.islink(path):
                raise CheckpointError(
                    f"{folder!r} holds the link {name!r}, which may lead out of it; not followed"
                )
            with contextlib.suppress(FileNotFoundError):  # Another writer takes its place.
                size += os.path.getsize(path)
    return size


def _json(path: str) -> Any:
    with open(path, "rb") as file:
        raw = file.read(_MAX_METADATA + 1)
    # Each bracket and comma becomes an object, which takes far more memory than its byte.
    if len(raw) > _MAX_METADATA or sum(map(raw.count, (b"[", b"{", b","))) > _MAX_VALUES:
        raise CheckpointError(f"{path!r} is longer than the description of a checkpoint can be")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path!r} is no description of a checkpoint ({error})") from error


def _described(folder: str) -> tuple[list[tuple[str, ...]], tuple[bool, bool]]:
    """The keys of every array, and whether they are in OCDBT, and in zarr 3."""
    path = os.path.join(folder, METADATA)
    told = _json(path)
    found = []
    try:
        layout = (told.get("use_ocdbt") is True, told.get("use_zarr3") is True)
        for leaf in told["tree_metadata"].values():
            if leaf["value_metadata"].get("skip_deserialize") is True:
                continue  # An empty dict, or None.
            keys = tuple(part["key"] for part in leaf["key_metadata"])
            if not keys or not all(isinstance(key, str) for key in keys):
                raise TypeError("a key that is no text")
            found.append(keys)
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path!r} is no description of a checkpoint ({error})") from error
    return found, layout


def _custom_metadata(folder: str) -> dict[str, str]:
    path = os.path.join(folder, CHECKPOINT_METADATA)
    told = _json(path) if os.path.isfile(path) else {}
    custom = told.get("custom_metadata") if isinstance(told, dict) else None
    if not isinstance(custom, dict):
        return {}
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in custom.items()}


def _tensorstore() -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise CheckpointError(
            "checkpoints of Orbax need tensorstore, which is not installed: "
            "pip install ansatz-nn[orbax]"
        ) from error
    return tensorstore


def _spec(folder: str, name: str, layout: tuple[bool, bool] = (True, False)) -> dict[str, Any]:
    ocdbt, zarr3 = layout
    file = {"driver": "file", "path": os.path.join(folder, "")}
    inside = {"driver": "ocdbt", "base": file} if ocdbt else file
    # In OCDBT a name is a key, which leads nowhere; else it is a folder.
    place = f"{name}/" if ocdbt else os.path.join(folder, name, "")
    return {"driver": "zarr3" if zarr3 else "zarr", "kvstore": {**inside, "path": place}}


def _opened(folder: str, name: str, layout: tuple[bool, bool], context: Any, what: str) -> Any:
    if "\0" in name or (not layout[0] and re.search(r"^\.*$|[/\\:]", name)):
        raise CheckpointError(f"{what} has a name that cannot be that of a folder")
    spec = _spec(folder, name, layout)
    try:
        return _tensorstore().open(spec, open=True, read=True, context=context).result()
    except Exception as error:  # tensorstore's errors are of many kinds.
        raise CheckpointError(f"{what} is described, but cannot be opened ({error})") from error


def _entry(store: Any, size: int, what: str) -> Entry:
    shape = tuple(store.shape)
    check_shape(shape, what)
    found = store.dtype.name
    dtype = NUMPY.get(found) or EXTENSIONS.get(found)
    if dtype is None:
        raise CheckpointError(f"{what} has the dtype {found}, which is not read")
    entry = Entry(shape, dtype)
    check_expansion(entry.nbytes, size, what)
    # A chunk is decoded as a whole, however little of it is in the array.
    layout = store.chunk_layout
    for chunk in (layout.read_chunk.shape, layout.write_chunk.shape):
        check_expansion(math.prod(chunk or ()) * dtype.itemsize, size, f"a chunk of {what}")
    for used in _compressions(store.spec().to_json().get("metadata", {})):
        if used not in _COMPRESSIONS:
            raise CheckpointError(f"{what} is compressed by {used}, which Orbax does not use")
    return entry


def _compressions(metadata: dict[str, Any]) -> list[Any]:
    """The compression in the description of zarr 2, the codecs in that of zarr 3."""
    if "codecs" not in metadata:
        return [(metadata.get("compressor") or {}).get("id")]
    waiting, found = list(metadata["codecs"]), []
    while waiting:
        codec = waiting.pop()
        inner = codec.get("configuration", {})
        waiting += [*inner.get("codecs", ()), *inner.get("index_codecs", ())]
        if codec["name"] not in ("bytes", "crc32c", "sharding_indexed", "transpose"):
            found.append(codec["name"])
    return found


def _read(store: Any, what: str) -> Any:
    try:
        return store.read().result()
    except Exception as error:  # tensorstore's errors are of many kinds.
        raise CheckpointError(f"{what} cannot be read ({error})") from error


# -- writing --------------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    verify: Verify | None = None,
) -> None:
    """Write a checkpoint that Orbax restores, whole or not at all.

    An older one in its place is replaced, if it holds nothing that Orbax did not put there.
    Equal contents do not give equal bytes: tensorstore draws names for its files.

    Raises:
        CheckpointError: a name or dtype that the format cannot express, two names of which one
            goes on where the other ends, what is there is no checkpoint of Orbax, or arrays that do
            not come back as they were written; what was there is left as it was.
    """
    name = os.fspath(path)
    keys = keys_of(arrays, name)
    for key, array in arrays.items():
        check_gathered(key, array, name)
        check_length(key, _LONGEST_NAME, name)
        if native(array.dtype) not in DTYPES:
            raise CheckpointError(f"{name!r} was not written: '{key}' has dtype {array.dtype}")
        if "\0" in key or not all(keys[key]):
            raise CheckpointError(
                f"{name!r} was not written: '{key}' is no name in a tree, in which dots separate "
                "the keys; pass rename"
            )
    with replacing_folder(path, _check_replaceable) as folder:
        # Everything is brought to the disk at once, when it is complete.
        context = _tensorstore().Context({"file_io_sync": False})
        try:
            _write_arrays(folder, arrays, context)
        except Exception as error:  # tensorstore's errors are of many kinds.
            raise _as_system_error(error, name) from error
        _describe(folder, keys, dict(metadata or {}))
        if verify is not None:
            for key, array in arrays.items():
                back = _read(_opened(str(folder), key, (True, False), context, key), key)
                if bytes_of(back) != bytes_of(array):
                    raise not_as_written(name)
            verify(str(folder))


def _check_replaceable(folder: Path) -> None:
    found = sorted(os.listdir(folder))
    foreign = [name for name in found if not _OWN.fullmatch(name)]
    if found and (METADATA not in found or foreign):
        what = f"which Orbax did not write: {foreign[0]!r}" if foreign else f"but no {METADATA}"
        raise CheckpointError(
            f"{str(folder)!r} was not written: there is a folder that holds something, {what}; "
            "choose another name, or move it away"
        )
    _size_without_links(str(folder))


def _write_arrays(folder: Path, arrays: Mapping[str, Any], context: Any) -> None:
    tensorstore = _tensorstore()
    # The database is written anew for each transaction, which holds its arrays in memory.
    batch, held = tensorstore.Transaction(), 0
    for key, array in arrays.items():
        host = np.asarray(array, order="C")
        host = host.astype(native(host.dtype), copy=False)
        told = {
            # One chunk, as Orbax has it; a chunk has no dimension of nothing.
            "metadata": {
                "chunks": [max(1, n) for n in host.shape],
                "compressor": {"id": "zstd", "level": 1},
            },
            "store_data_equal_to_fill_value": True,
        }
        store = tensorstore.open(
            _spec(str(folder), key) | told,
            create=True,
            dtype=host.dtype,
            shape=host.shape,
            context=context,
            transaction=batch,
        ).result()
        store.write(host).result()
        held += host.nbytes
        if held > _BATCH:
            batch.commit_sync()
            batch, held = tensorstore.Transaction(), 0
    batch.commit_sync()


def _as_system_error(error: Exception, path: str) -> Exception:
    """Tensorstore says in words that there is no room."""
    code = next((code for code in NO_ROOM if os.strerror(code) in str(error)), None)
    if code is not None:
        return OSError(code, os.strerror(code))
    if isinstance(error, CheckpointError):
        return error
    return OSError(errno.EIO, f"tensorstore could not write it: {error}", path)


def _describe(
    folder: Path, keys: Mapping[str, tuple[str, ...]], metadata: Mapping[str, str]
) -> None:
    tree = {
        str(parts): {
            "key_metadata": [{"key": part, "key_type": _DICT_KEY} for part in parts],
            "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": False},
        }
        for parts in keys.values()
    }
    described = {
        "tree_metadata": tree,
        "use_ocdbt": True,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
        "custom_metadata": None,
    }
    now = time.time_ns()
    whole = {
        "item_handlers": _HANDLER,
        "metrics": {},
        "performance_metrics": {},
        "init_timestamp_nsecs": now,
        "commit_timestamp_nsecs": now,
        "custom_metadata": metadata,
    }
    (folder / METADATA).write_text(json.dumps(described))
    (folder / CHECKPOINT_METADATA).write_text(json.dumps(whole))
