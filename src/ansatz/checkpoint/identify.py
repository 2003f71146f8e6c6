"""What a file is, by its content; the ending of its name never decides alone.

Nothing in a file is run, and only its first bytes (of an archive, also its directory) are read.
"""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

_SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "a NumPy array file (.npy)"),
    (b"GGUF", "a GGUF file"),
    (b"\x12\x01\x00\x00\x00\x00\x00\x00", "a parameter file of MXNet"),
    (b"\x1f\x8b", "compressed by gzip; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard; decompress it first"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, which only names the file that was meant; fetch it: git lfs pull",
    ),
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MAX_DOUBLINGS = 12  # Up to a block of 1 MiB.
_NAMES = {
    _HDF5: "keras-h5",
    b"\x93NUMPY": "npy",
    b"GGUF": "gguf",
    b"\x12\x01\x00\x00\x00\x00\x00\x00": "mxnet",
}
_AFTER_VERSION = b"\x12\x1a\x22\x28\x32\x3a\x42"  # the tags of ModelProto's next fields
_LOCAL_NAME = 30  # where the name of the first member stands in a ZIP archive
_TORCH_MEMBERS = ("data.pkl", ".data/serialization_id", ".format_version", "byteorder")
# What torch.save wrote before 1.6: a pickle of this number, then several more.
_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLE = (
    "Reading a pickle can run code, so it is not done here; convert the file once, where it was "
    "made: safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
)
_RESAVE = (
    "save it anew with a present one: torch.save(torch.load(path, weights_only=True), new_path)"
)


def identify(path: str | os.PathLike[str]) -> str | None:
    """The name of the format of a file, or `None` if it is none of them.

    Args:
        path: the file. A folder is told by the files in it, elsewhere.

    Raises:
        FileNotFoundError: there is no such file.

    Example:
        >>> import numpy as np
        >>> from ansatz.checkpoint.identify import identify
        >>> np.savez("weights.bin", w=np.ones(2))
        >>> identify("weights.bin.npz")
        'npz'
    """
    with open(path, "rb") as file:
        head = file.read(512)
        for signature, name in _NAMES.items():
            if head.startswith(signature):
                return name
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return _identify_zip(file)
        if head[8:9] == b"{":
            return "safetensors"
        if head.lstrip().startswith(b"{") and b"weight_map" in head + file.read(1 << 16):
            return "index"
        return _weakly(head) or _after_block(file)


def _identify_zip(file: BinaryIO) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError):
        names = []
    if not names:
        # A damaged archive still tells by its first member what it was.
        file.seek(0)
        head = file.read(512)
        names = [_first_member(head).decode("utf-8", "replace")]
        if head.startswith(b"PK\x05\x06"):
            return "npz"
    if any(name.rpartition("/")[2] in ("data.pkl", "byteorder") for name in names):
        return "torch"
    if names[0].endswith(_TORCH_MEMBERS):
        return "torch"
    if "model.weights.h5" in names or "config.json" in names:
        return "keras"
    if any(name.endswith(".npy") for name in names):
        return "npz"
    return None


def _after_block(file: BinaryIO) -> str | None:
    """HDF5 after a block that belongs to the user, of 512 bytes or a power of two more."""
    for k in range(_MAX_DOUBLINGS):
        file.seek(512 << k)
        if file.read(8) == _HDF5:
            return "keras-h5"
    return None


def _weakly(head: bytes) -> str | None:
    """Formats without a signature: told by what their first fields have to be."""
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return None  # A pickle.
    # A map of up to 2³² - 1 pairs whose first key is text.
    for size, prefix in ((1, range(0x81, 0x90)), (3, (0xDE,)), (5, (0xDF,))):
        if head and head[0] in prefix and head[size : size + 1]:
            key = head[size]
            if 0xA0 <= key <= 0xBF or key in (0xD9, 0xDA):
                return "msgpack"
    # The version of ONNX's format, then a producer or a graph.
    if len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 20 and head[2] in _AFTER_VERSION:
        return "onnx"
    return None


def describe(head: bytes) -> str | None:
    r"""What a file that begins with `head` is, for an error message; `None` if nobody knows.

    Args:
        head: the first bytes of the file; 512 are enough.

    Example:
        >>> from ansatz.checkpoint.identify import describe
        >>> describe(b"GGUF\x03\x00")
        'a GGUF file'
    """
    for signature, meaning in _SIGNATURES:
        if head.startswith(signature):
            return meaning
    if head.startswith(b"PK\x03\x04"):
        return _describe_zip(head)
    if head.startswith(_LEGACY_TORCH):
        return f"a PyTorch file of a version before 1.6; {_RESAVE}"
    if head[257:262] == b"ustar":
        return f"a tar archive, perhaps a PyTorch file of a version before 0.2; if so, {_RESAVE}"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"a pickle. {_PICKLE}"
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, perhaps an error message that was saved by a download"
    if start.startswith(b"{") and b"weight_map" in head:
        return "the index of a checkpoint in several files"
    if start.startswith((b"{", b"[")):
        return "a JSON text"
    return None


def _first_member(head: bytes) -> bytes:
    length = int.from_bytes(head[26:28], "little")
    return head[_LOCAL_NAME : _LOCAL_NAME + length]


def _describe_zip(head: bytes) -> str:
    first = _first_member(head)
    if first.endswith(tuple(name.encode() for name in _TORCH_MEMBERS)):
        return "a PyTorch file, which is a ZIP archive around a pickle"
    if first.endswith(b".npy"):
        return "a NumPy archive (.npz)"
    if first in (b"metadata.json", b"config.json"):
        return "a ZIP archive, perhaps a Keras model"
    return f"a ZIP archive that begins with {first.decode('utf-8', 'replace')!r}"
