"""Files of plain arrays: a dict, a list, a tuple, or a single one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import jax

from ansatz.checkpoint.contents import Contents
from ansatz.checkpoint.formats import format_for, open_file
from ansatz.core.errors import CheckpointError, format_value
from ansatz.core.foreign import to_numpy
from ansatz.core.operators import ArrayOperators

_KIND = "ansatz.arrays"
_ARTICLES = {"list": "a list", "tuple": "a tuple", "array": "a single array"}


def save_arrays(path: str | os.PathLike[str], arrays: Any) -> None:
    """Write a dict, list or tuple of arrays, or one array, to a file.

    Args:
        path: the file; replaced in one step, or left as it was if anything fails. The ending of its
            name decides the format: `.safetensors` (also without any ending), `.npz`, `.npy` (one
            array), `.params` (MXNet), `.msgpack` (Flax), `.h5` or `.hdf5` (Keras, names such as
            `layers.dense.0`) or `.orbax` (a folder of Orbax).
        arrays: NumPy or JAX arrays, numbers or parameters; the names of a dict are text.

    Raises:
        CheckpointError: something in it is no array of numbers, or has a dtype that the format
            cannot hold.

    Example:
        >>> import numpy as np
        >>> from ansatz.checkpoint import load_arrays, save_arrays
        >>> save_arrays("xy.safetensors", [np.arange(3), np.zeros((2, 2), "float32")])
        >>> x, y = load_arrays("xy.safetensors")
        >>> x.tolist(), y.shape
        ([0, 1, 2], (2, 2))
    """
    if isinstance(arrays, Mapping):
        kind, named = "dict", dict(arrays)
    elif isinstance(arrays, list | tuple):
        kind = "list" if isinstance(arrays, list) else "tuple"
        named = {str(i): array for i, array in enumerate(arrays)}
    else:
        kind, named = "array", {"0": arrays}
    for name in named:
        if not isinstance(name, str):
            raise CheckpointError(f"the names of arrays are text, got {name!r}; nothing was saved")
    held = {name: _as_array(name, value) for name, value in named.items()}
    target = format_for(path)
    order = json.dumps({"kind": kind, "names": list(held)}, ensure_ascii=False)
    # In an archive, a dict has its order anyway; foreign readers meet no entry but its own.
    told = kind != "dict" or target.name == "safetensors"
    if kind != "dict" and not target.keeps_metadata and (kind, target.name) != ("array", "npy"):
        raise CheckpointError(
            f"{os.fspath(path)!r} was not written: {target.name} cannot tell that this is "
            f"{_ARTICLES[kind]}; pass a dict, or use .npz or .safetensors"
        )
    target.save(os.fspath(path), held, {_KIND: order} if told else {})


def load_arrays(path: str | os.PathLike[str]) -> Any:
    """Read the arrays of a file, whatever its format; the content decides, not the name.

    Args:
        path: a file of `save_arrays`, of `Module.save`, or of any other program.

    Returns:
        NumPy arrays of exactly the dtypes in the file: in a dict, list or tuple, or alone, as they
        were given to `save_arrays`; else in a dict by name.

    Raises:
        CheckpointError: its format is not known, or it is damaged.
    """
    contents = open_file(path)
    kind, names = _kind_of(contents)
    arrays = dict(zip(names, contents.read_all(names), strict=True))
    if kind == "dict":
        return arrays
    if kind == "array":
        return arrays["0"]
    return list(arrays.values()) if kind == "list" else tuple(arrays.values())


def _kind_of(contents: Contents) -> tuple[str, list[str]]:
    text = contents.metadata.get(_KIND)
    if text is None:
        return "dict", list(contents.entries)
    try:
        described = json.loads(text)
        kind, names = described["kind"], list(described["names"])
        sound = kind in ("dict", "list", "tuple", "array") and (
            len(names) == len(contents.entries) and set(names) == set(contents.entries)
        )
        sound = sound and (kind != "array" or names == ["0"])
    except (ValueError, TypeError, KeyError, RecursionError):
        sound = False
    if not sound:
        raise CheckpointError(
            f"{contents.path!r} is damaged: its metadata {_KIND!r} do not fit what it holds"
        )
    return kind, names


def _as_array(name: str, value: Any) -> Any:
    if isinstance(value, ArrayOperators):
        value = value.value
    if isinstance(value, jax.core.Tracer):
        raise CheckpointError(f"'{name}' is a tracer; save arrays outside of JAX transformations")
    if isinstance(value, jax.Array):
        return value
    array = to_numpy(value)
    if array.dtype.kind in "OSUMm":
        raise CheckpointError(
            f"'{name}' is {format_value(value)}, not an array of numbers; nothing was saved"
        )
    return array
