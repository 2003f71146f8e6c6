"""The files of `torch.save`: a ZIP archive of raw storages, and a pickle that says what they are.

Read without PyTorch and without unpickling: `torch_archive` tells what the pickle means. Tensors
that are the same view of the same storage are reported as ties, transposed ones too. Nested dicts
and lists are flattened: `checkpoint["model"]["0.weight"]` is called `model.0.weight`; numbers and
text in them become metadata.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ansatz.checkpoint.contents import (
    Contents,
    Entry,
    Opened,
    aligned,
    check_expansion,
    checked,
    read_plain,
)
from ansatz.checkpoint.pickle_opcodes import Global
from ansatz.checkpoint.ties import Alias, Ties
from ansatz.checkpoint.torch_archive import MAX_LEAVES, Archive, Inert, Tensor
from ansatz.checkpoint.torch_composed import Composed, Unread
from ansatz.core.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_DEPTH = 64
_MAX_NAMES = 30_000_000  # characters in all names together
_MAX_TEXT = 1000  # characters of a text that becomes metadata


def open_torch(path: str | os.PathLike[str]) -> Contents:
    """Find out what a file of `torch.save` holds, running nothing in it.

    Raises:
        CheckpointError: it is none, is damaged, or holds more than tensors, numbers and text.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        opened = Opened(name, file)
        archive = Archive(file, opened.size, name)
        root = archive.root(file)
    tensors, metadata, notes = _flattened(root, name)
    entries = {}
    for key, tensor in tensors.items():
        parts = tensor.parts if isinstance(tensor, Composed) else ()
        for part in (tensor, *parts):
            check_expansion(_nbytes(part), opened.size, f"'{key}' in {name!r}")
        if isinstance(tensor, Composed):
            entries[key] = Entry(tensor.shape, tensor.dtype, held=tensor.kind)
            continue
        offset = tensor.storage.offset + tensor.offset * tensor.dtype.itemsize
        plain = tensor.plain and not archive.big_endian
        held = "" if tensor.plain else "view"
        entries[key] = Entry(tensor.shape, tensor.dtype, offset if plain else None, held)

    def fetch(asked: str) -> NDArray[Any]:
        with opened.again() as again:
            what = f"'{asked}' in {name!r}"
            if entries[asked].offset is not None:
                return read_plain(again, entries[asked], what)
            held = tensors[asked]
            if not isinstance(held, Composed):
                return _read_view(again, held, archive.big_endian, what)
            parts = [_read_view(again, part, archive.big_endian, what) for part in held.parts]
        return held.read(parts, what)

    ties = _ties_of(tensors)
    return Contents(name, "torch", entries, fetch, metadata, ties, notes, archives=(name,))


def _nbytes(tensor: Tensor | Composed) -> int:
    return Entry(tensor.shape, tensor.dtype).nbytes


def _read_view(file: BinaryIO, tensor: Tensor, swapped: bool, what: str) -> NDArray[Any]:
    """Elements that stand apart: the stretch of the storage that they span is read at once."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    itemsize = tensor.dtype.itemsize
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)) + 1
    start = tensor.storage.offset + tensor.offset * itemsize
    raw = read_plain(file, Entry((reach * itemsize,), np.dtype(np.uint8), start), what)
    dtype = tensor.dtype.newbyteorder(">") if swapped and itemsize > 1 else tensor.dtype
    if swapped and tensor.dtype.name == "bfloat16":
        raw, dtype = raw.reshape(-1, 2)[:, ::-1].copy().reshape(-1), tensor.dtype
    strides = tuple(s * itemsize for s in tensor.strides)
    seen = np.ndarray(tensor.shape, dtype, raw.data, 0, strides)
    array = aligned(_nbytes(tensor)).view(tensor.dtype).reshape(tensor.shape)
    array[...] = seen
    if tensor.conjugated:
        np.conjugate(array, out=array)
    if tensor.negated:
        np.negative(array, out=array)
    return checked(array, what)


# -- names and ties -------------------------------------------------------------------------------


def _flattened(
    root: Any, path: str
) -> tuple[dict[str, Tensor | Composed], dict[str, str], tuple[str, ...]]:
    """Tensors and plain values by name, and what was left out."""
    tensors: dict[str, Tensor | Composed] = {}
    metadata: dict[str, str] = {}
    inert: list[str] = []
    left = [MAX_LEAVES, _MAX_NAMES]

    def visit(value: Any, names: tuple[str, ...]) -> None:
        left[0] -= 1
        left[1] -= sum(map(len, names)) + len(names)
        if min(left) < 0 or len(names) > _MAX_DEPTH:
            raise CheckpointError(
                f"{path!r} is nested more than {_MAX_DEPTH} deep, or holds more than {MAX_LEAVES} "
                f"values, or names of more than {_MAX_NAMES} characters; it is not to be trusted"
            )
        name = ".".join(names)
        if isinstance(value, dict):
            for key, held in value.items():
                visit(held, (*names, str(key)))
        elif isinstance(value, list) or type(value) is tuple:
            for i, held in enumerate(value):
                visit(held, (*names, str(i)))
        elif name in tensors or name in metadata:
            raise CheckpointError(f"{path!r} holds two values that are both called '{name}'")
        elif isinstance(value, Tensor | Composed):
            tensors[name] = value
        elif isinstance(value, Unread):
            raise CheckpointError(f"'{name}' in {path!r} {value.reason}")
        elif isinstance(value, int | float | None) or (
            isinstance(value, str) and len(value) <= _MAX_TEXT
        ):
            metadata[name] = json.dumps(value)
        else:
            inert.append(f"'{name}' ({value if isinstance(value, Global) else _kind(value)})")

    alone = isinstance(root, Tensor | Composed | Unread)
    visit(root, ("0",) if alone else ())
    if alone:
        metadata = {"ansatz.arrays": json.dumps({"kind": "array", "names": ["0"]})}
    if "\0" in "".join(tensors):
        raise CheckpointError(f"{path!r} holds a name with NUL")
    notes = (f"left out, being no tensors: {', '.join(inert[:10])}",) if inert else ()
    return tensors, metadata, notes


def _kind(value: Any) -> str:
    return value.name if isinstance(value, Inert) else type(value).__name__


def _ties_of(tensors: dict[str, Tensor | Composed]) -> Ties:
    """Which names are the same view of the same storage."""
    first: dict[tuple[Any, ...], str] = {}
    ties: Ties = {}
    for name, tensor in tensors.items():
        if 0 in tensor.shape or isinstance(tensor, Composed):
            continue
        kept = first.get(tensor.identity)
        transposed = first.get(tensor.flipped.identity) if kept is None else None
        if kept is not None:
            ties[kept] = (*ties.get(kept, ()), Alias(name))
        elif transposed is not None:
            ties[transposed] = (*ties.get(transposed, ()), Alias(name, transposed=True))
        else:
            first[tensor.identity] = name
    return ties
