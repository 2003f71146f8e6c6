"""A checkpoint in several files, with an index that says which array is in which of them.

The index is JSON, `{"weight_map": {array: file}}`, as `model.safetensors.index.json` and
`pytorch_model.bin.index.json`. The files stand next to it: a name with a folder in it is refused,
and so is a link that leads out of the folder, other than into the store of blobs that the Hugging
Face cache keeps beside its snapshots. The index and the files have to name the same arrays.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ansatz.checkpoint.contents import Contents, Entry
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_INDEX = 1 << 28
_MAX_FILES = 10_000


def open_index(path: str | os.PathLike[str], open_file: Callable[[str], Contents]) -> Contents:
    """Find out what the files of an index hold.

    Args:
        path: the index.
        open_file: opens one of its files.

    Raises:
        CheckpointError: the index is damaged, contradicts the files, or leads elsewhere.
    """
    name = os.fspath(path)
    told, metadata = _read(name)
    files = sorted(set(told.values()))
    if len(files) > _MAX_FILES:
        raise CheckpointError(f"{name!r} names {len(files)} files; {_MAX_FILES} are allowed")
    shards = {file: open_file(beside(name, file)) for file in files}
    entries: dict[str, Entry] = {}
    at: dict[str, Contents] = {}
    for array, file in told.items():
        entry = shards[file].entries.get(array)
        if entry is None:
            raise CheckpointError(f"{name!r} says that '{array}' is in {file!r}, which lacks it")
        # Its bytes are not in the index.
        entries[array] = dataclasses.replace(entry, offset=None)
        at[array] = shards[file]
    for file, shard in shards.items():
        more = [array for array in shard.entries if told.get(array) != file]
        if more:
            raise CheckpointError(
                f"{file!r} holds '{more[0]}', of which the index {name!r} says otherwise; they do "
                "not belong together"
            )

    def fetch(array: str) -> NDArray[Any]:
        return at[array].read(array)

    ties = {kept: others for shard in shards.values() for kept, others in shard.ties.items()}
    notes = tuple(note for shard in shards.values() for note in shard.notes)
    kind = {shard.format for shard in shards.values()}
    label = f"{'/'.join(sorted(kind)) or 'empty'}, {len(files)} files"
    concurrent = all(shard.concurrent for shard in shards.values())
    archives = tuple(path for shard in shards.values() for path in shard.archives)
    parts = (name, *(shard.path for shard in shards.values()))
    return Contents(name, label, entries, fetch, metadata, ties, notes, concurrent, archives, parts)


def _read(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The map of the index, and its metadata as text."""
    if os.path.getsize(name) > _MAX_INDEX:
        raise CheckpointError(f"{name!r} is too large for an index")
    with open(name, "rb") as file:
        raw = file.read(_MAX_INDEX)
    try:
        told = json.loads(raw, object_pairs_hook=_without_repeats)
        arrays = told["weight_map"]
        sound = all(isinstance(file, str) for file in arrays.values())
        metadata = told.get("metadata") or {}
        text = {str(key): json.dumps(value) for key, value in metadata.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{name!r} is a damaged index ({error})") from error
    if not sound:
        raise CheckpointError(f"{name!r} is a damaged index: it names files that are no text")
    return arrays, text


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        raise ValueError("it holds a name twice")
    return held


def beside(index: str, file: str) -> str:
    """The path of a file that another one names, and that stands next to it.

    Raises:
        CheckpointError: it stands elsewhere, is a link to elsewhere, or is not there.
    """
    folder = os.path.dirname(os.path.abspath(index))
    if file in ("", ".", "..") or any(sign in file for sign in "/\\\0:"):
        raise CheckpointError(
            f"{index!r} names the file {file!r}, which is not next to it; it is not to be trusted"
        )
    path = os.path.join(folder, file)
    if not os.path.isfile(path):
        raise CheckpointError(f"{index!r} names the file {file!r}, which is not there")
    real = os.path.realpath(path)
    blobs = os.path.join(os.path.dirname(os.path.dirname(folder)), "blobs")
    homes = [os.path.realpath(folder)]
    if os.path.basename(os.path.dirname(folder)) == "snapshots":
        homes.append(os.path.realpath(blobs))
    if os.path.dirname(real) not in homes:
        raise CheckpointError(
            f"{index!r} names the file {file!r}, which is a link out of its folder; not followed"
        )
    return path
