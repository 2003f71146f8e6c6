"""Checkpoints of Orbax: a folder with a description of the tree, and arrays in OCDBT.

Needs tensorstore (`pip install ansatz-nn[orbax]`), not Orbax itself. Names are the keys of the tree
joined by dots; positions in a list are numbers, as everywhere in Ansatz.

The description is read here; the arrays are tensorstore's to read. Refused are links within the
folder, arrays that claim far more values than the folder has bytes, and the layouts of old
versions (without OCDBT).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ansatz.checkpoint.contents import Contents, Entry, check_expansion, check_shape, checked
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA = "_METADATA"
"""The file that makes a folder a checkpoint of Orbax."""

_MAX_METADATA = 1 << 28


def find(folder: str) -> str | None:
    """The folder with the description: this one, or the one item that a manager put in it."""
    for inside in (folder, os.path.join(folder, "default"), os.path.join(folder, "state")):
        if os.path.isfile(os.path.join(inside, METADATA)):
            return inside
    return None


def open_orbax(path: str | os.PathLike[str]) -> Contents:
    """Find out what a checkpoint of Orbax holds.

    Raises:
        CheckpointError: it is none, is damaged, leads elsewhere, or tensorstore is not installed.
    """
    folder = os.path.abspath(path)
    size = _size_without_links(folder)
    stores = {}
    entries: dict[str, Entry] = {}
    for keys in _described(folder):
        name, what = ".".join(keys), f"'{'.'.join(keys)}' in {folder!r}"
        if name in entries:
            raise CheckpointError(f"{folder!r} holds two values that are called '{name}'")
        stores[name] = _opened(folder, name, what)
        shape = tuple(stores[name].shape)
        check_shape(shape, what)
        found = stores[name].dtype.name
        dtype = NUMPY.get(found) or EXTENSIONS.get(found)
        if dtype is None:
            raise CheckpointError(f"{what} has the dtype {found}, which is not read")
        entries[name] = Entry(shape, dtype)
        check_expansion(entries[name].nbytes, size, what)

    def fetch(asked: str) -> NDArray[Any]:
        what = f"'{asked}' in {folder!r}"
        try:
            raw = stores[asked].read().result()
        except Exception as error:  # tensorstore's errors are of many kinds.
            raise CheckpointError(f"{what} cannot be read ({error})") from error
        return checked(np.array(raw, entries[asked].dtype, order="C"), what)

    # tensorstore has threads of its own.
    return Contents(folder, "orbax", entries, fetch, concurrent=False)


def _size_without_links(folder: str) -> int:
    size = 0
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            if os.path.islink(path):
                raise CheckpointError(
                    f"{folder!r} holds the link {name!r}, which may lead out of it; not followed"
                )
            size += os.path.getsize(path)
    return size


def _described(folder: str) -> list[tuple[str, ...]]:
    """The keys of every array."""
    path = os.path.join(folder, METADATA)
    with open(path, "rb") as file:
        raw = file.read(_MAX_METADATA)
    found = []
    try:
        told = json.loads(raw)
        ocdbt = told.get("use_ocdbt") is True and told.get("use_zarr3") is not True
        for leaf in told["tree_metadata"].values():
            if leaf["value_metadata"].get("skip_deserialize") is True:
                continue  # An empty dict, or None.
            keys = tuple(part["key"] for part in leaf["key_metadata"])
            if not keys or not all(isinstance(key, str) for key in keys):
                raise TypeError("a key that is no text")
            found.append(keys)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path!r} is no description of a checkpoint ({error})") from error
    if not ocdbt:
        raise CheckpointError(
            f"{folder!r} is a checkpoint of Orbax without OCDBT, or with zarr 3; this is not read: "
            "restore it with Orbax and save it anew with its defaults"
        )
    return found


def _opened(folder: str, name: str, what: str) -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise CheckpointError(
            "checkpoints of Orbax need tensorstore, which is not installed: "
            "pip install ansatz-nn[orbax]"
        ) from error
    if "/" in name or "\\" in name or "\0" in name:
        raise CheckpointError(f"{what} has a name with a separator, which is not read")
    base = {"driver": "file", "path": os.path.join(folder, "")}
    spec = {"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": base, "path": f"{name}/"}}
    try:
        return tensorstore.open(spec, open=True, read=True).result()
    except Exception as error:  # tensorstore's errors are of many kinds.
        raise CheckpointError(f"{what} is described, but cannot be opened ({error})") from error
