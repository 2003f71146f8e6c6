"""Every format, one row each: how its files are opened, and what it can hold of what is written.

A reader is `open(path) -> Contents`: it lists entries and reads one when asked. A writer is a
`Writer`, `write(path, arrays, metadata)`.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ansatz.checkpoint import (
    flax_msgpack,
    gguf,
    identify,
    keras_h5,
    mxnet_params,
    numpy_files,
    onnx_initializers,
    orbax_folder,
    safetensors,
    sharded,
    torch_zip,
)
from ansatz.checkpoint.contents import Contents
from ansatz.checkpoint.writing import Verify, Writer, check_texts, keys_of
from ansatz.core.errors import CheckpointError, did_you_mean, format_value

Shape = tuple[int, ...]


def _as_it_is(name: str, shape: Shape, dtype: np.dtype[Any]) -> tuple[Shape | None, str]:
    return shape, ""


def _nothing_against(name: str, array: Any) -> str:
    return ""


def _any_names(names: Collection[str], path: str) -> None:
    pass


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """One format of files.

    Attributes:
        name: its name, as `identify` gives it.
        suffixes: the endings under which it is written.
        open: lists what a file holds.
        write: writes arrays; `None` where files of this format are only read.
        holds: the dtypes that can be written.
        keeps_metadata: whether text metadata, and with them ties, can be written.
        keeps_names: whether arrays have names; else there is one, which is read as `"0"`.
        fitted: for a name, a shape and a dtype, the shape that can be written instead, `None` if
            the array has to be left out, and what is lost by it, in a sentence; an empty one if
            nothing is.
        refusal: for a name and an array, why it cannot be written, or an empty text.
        check: raises `CheckpointError` for names that cannot be in one file, which it gets.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[str], Contents]
    write: Writer | None = None
    holds: frozenset[np.dtype[Any]] = frozenset()
    keeps_metadata: bool = False
    keeps_names: bool = True
    fitted: Callable[[str, Shape, np.dtype[Any]], tuple[Shape | None, str]] = _as_it_is
    refusal: Callable[[str, Any], str] = _nothing_against
    check: Callable[[Collection[str], str], object] = _any_names

    def save(
        self,
        path: str,
        arrays: Mapping[str, Any],
        metadata: Mapping[str, str],
        *,
        verify: Verify | None = None,
    ) -> None:
        """Write arrays, after checking what holds for every format; see `Writer`."""
        assert self.write is not None
        check_texts(path, arrays, metadata)
        self.write(path, arrays, metadata, verify=verify)


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format(
            "safetensors",
            (".safetensors",),
            safetensors.read_header,
            safetensors.write,
            frozenset(safetensors.DTYPES.values()),
            keeps_metadata=True,
        ),
        Format(
            "npz",
            (".npz",),
            numpy_files.open_npz,
            numpy_files.write_npz,
            numpy_files.DTYPES,
            keeps_metadata=True,
        ),
        Format(
            "npy",
            (".npy",),
            numpy_files.open_npy,
            numpy_files.write_npy,
            numpy_files.NUMPY_DTYPES,
            keeps_names=False,
            check=numpy_files.check_one,
        ),
        Format(
            "mxnet",
            (".params",),
            mxnet_params.open_params,
            mxnet_params.write,
            mxnet_params.DTYPES,
            fitted=mxnet_params.fitted,
            refusal=mxnet_params.refusal,
        ),
        Format("torch", (".pt", ".pth", ".bin", ".ckpt"), torch_zip.open_torch),
        Format(
            "keras-h5",
            (".h5", ".hdf5"),
            keras_h5.open_h5,
            keras_h5.write_h5,
            keras_h5.DTYPES,
            check=keras_h5.check_names,
        ),
        Format("keras", (".keras",), keras_h5.open_keras),
        Format(
            "msgpack",
            (".msgpack",),
            flax_msgpack.open_msgpack,
            flax_msgpack.write,
            flax_msgpack.DTYPES,
            check=keys_of,
        ),
        Format(
            "orbax",
            (".orbax",),
            orbax_folder.open_orbax,
            orbax_folder.write,
            orbax_folder.DTYPES,
            keeps_metadata=True,
            check=keys_of,
        ),
        Format("onnx", (".onnx",), onnx_initializers.open_onnx),
        Format("gguf", (".gguf",), gguf.open_gguf),
    )
}
"""The formats by name."""

# In a folder, in this order: a whole file or an index before a conversion of it.
_WHOLE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_SHOWN = 8  # Names in a message.
_NEVER_WRITTEN = (".pickle", ".pkl")
_SUFFIXES = {suffix: row for row in FORMATS.values() for suffix in row.suffixes}


def path_of(given: str | os.PathLike[str]) -> str:
    """The path of a file, as text.

    Raises:
        TypeError: it is none.
    """
    path: Any = given
    if not isinstance(path, str | os.PathLike):
        instead = "; pass its path, not an open file" if hasattr(path, "read") else ""
        raise TypeError(
            f"the path of a file is wanted, such as 'net.safetensors', got {format_value(path)}"
            f"{instead}"
        )
    return os.fspath(path)


def open_file(path: str | os.PathLike[str]) -> Contents:
    """Find out what a file of any format holds, without reading any array.

    Raises:
        CheckpointError: no known format, or damaged; the message says what it looks like.
        FileNotFoundError: there is no such file; the message offers one that is called alike.
        PermissionError: it may not be read.

    Example:
        >>> import numpy as np
        >>> from ansatz.checkpoint.formats import open_file
        >>> np.savez("weights.npz", w=np.ones((2, 3), "float32"))
        >>> contents = open_file("weights.npz")
        >>> contents.format, contents.entries["w"].shape
        ('npz', (2, 3))
    """
    name = path_of(path)
    if os.path.isdir(name):
        orbax = orbax_folder.find(name)
        if orbax is not None:
            return orbax_folder.open_orbax(orbax)
        name = _in_folder(name)
    elif not os.path.exists(name):
        raise _not_there(name)
    elif not os.path.isfile(name):
        raise CheckpointError(f"{name!r} is a device or a pipe, not a file")
    found = identify.identify(name)
    if found == "index":
        return sharded.open_index(name, _open_one)
    return _open_as(name, found)


def _open_one(name: str) -> Contents:
    return _open_as(name, identify.identify(name))


def _open_as(name: str, found: str | None) -> Contents:
    if found in FORMATS:
        return FORMATS[found].open(name)
    with open(name, "rb") as file:
        head = file.read(512)
    known = identify.describe(head)
    if not head:
        raise CheckpointError(f"{name!r} is empty (0 bytes). Copy or download it again.")
    what = (
        f"it is {known}"
        if known
        else (
            f"it begins with {head[:16]!r}. If it should be one of these, copy or download it again"
        )
    )
    raise CheckpointError(
        f"{name!r} is of no format that can be read, which are {', '.join(FORMATS)}: {what}"
    )


def _not_there(name: str) -> OSError:
    """The error about a file that cannot be found: that of the system, with what may help."""
    try:
        os.stat(name)
    except PermissionError as error:
        return error  # It may be there; its folder may not be entered.
    except (OSError, ValueError):
        pass
    return FileNotFoundError(errno.ENOENT, f"No such file ({_instead_of(name)})", name)


def _instead_of(name: str) -> str:
    folder, base = os.path.split(name)
    if "://" in name:
        return "nothing is fetched from elsewhere; download the file, and give its path"
    if os.path.islink(name):
        return f"it is a link to what is not there, {os.readlink(name)!r}"
    if not os.path.isdir(folder or "."):
        return f"there is no folder {folder!r} either"
    try:
        hint = did_you_mean(base, os.listdir(folder or "."))
        return hint.removeprefix("; ") or _checkpoints_in(folder or ".")
    except OSError:
        return f"what is in {folder or '.'!r} cannot be listed"


def _checkpoints_in(folder: str) -> str:
    """The files of a folder that are called like checkpoints, for a message."""
    found = sorted(n for n in os.listdir(folder) if n.lower().endswith((*_SUFFIXES, ".index.json")))
    if not found:
        return f"no file in {folder!r} is called like a checkpoint"
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"in {folder!r} there is {', '.join(map(repr, found[:_SHOWN]))}{more}"


def _in_folder(folder: str) -> str:
    """The one checkpoint in a folder, as those that Hugging Face makes."""
    found = [name for name in _WHOLE if os.path.isfile(os.path.join(folder, name))]
    if not found:
        raise CheckpointError(
            f"{folder!r} is a folder with none of {', '.join(_WHOLE)}, and no checkpoint of Orbax; "
            f"give the path of a file itself ({_checkpoints_in(folder)})"
        )
    return os.path.join(folder, found[0])


def format_for(path: str | os.PathLike[str]) -> Format:
    """The format that a file of this name is written in; safetensors where it has no ending.

    Raises:
        CheckpointError: the ending is that of a format that is only read, or of none.
    """
    name = path_of(path)
    suffix = os.path.splitext(os.path.normpath(name))[1].lower()
    row = _SUFFIXES.get(suffix, FORMATS["safetensors"])
    written = [s for other in FORMATS.values() if other.write for s in other.suffixes]
    number = suffix[1:].isdecimal()  # As in `loss-0.25`, which is no ending.
    if suffix not in ("", *_SUFFIXES, *_NEVER_WRITTEN) and not number:
        raise CheckpointError(
            f"{name!r} was not written: {suffix!r} is the ending of no format"
            f"{did_you_mean(suffix, written)}; the endings are {', '.join(written)}, and a name "
            "without any is a file of safetensors"
        )
    if row.write is None or suffix in _NEVER_WRITTEN:
        raise CheckpointError(
            f"{name!r} was not written: {suffix} is the suffix of a format that Ansatz does not "
            f"write; it writes {', '.join(written)}. For a checkpoint, use .safetensors"
        )
    return row
