"""PyTorch archives made by hand, sound and not, without PyTorch."""

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any


def archive_of(path: Path, described: bytes, members: dict[str, bytes] | None = None) -> Path:
    """An archive around a pickle, with one storage of eight zero bytes unless others are given."""
    inside = {"data.pkl": described, "byteorder": b"little", "data/0": bytes(8), "version": b"3\n"}
    members = members or {}
    if "data/0" not in members and b"LongStorage" in described:
        inside["data/0"] = bytes(16)
    inside |= members
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in inside.items():
            archive.writestr(f"archive/{name}", content)
    return path


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _plain(value: Any) -> bytes:
    """The operations that push a value."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _name(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def storage_operations(storage: str, count: Any, key: Any = "0") -> bytes:
    """The operations that push a storage."""
    module = "torch.storage" if storage == "UntypedStorage" else "torch"
    told = [_text("storage"), _name(module, storage), _plain(key), _text("cpu"), _plain(count)]
    return b"(" + b"".join(told) + b"tQ"


def tensor_operations(storage: bytes, offset: Any, shape: Any, strides: Any) -> bytes:
    """The operations that push a tensor."""
    rest = [_plain(offset), _plain(shape), _plain(strides), b"\x89", b"}"]
    return _name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + b"".join(rest) + b"tR"


def tensor_pickle(
    storage: str,
    count: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    *,
    key: Any = "0",
    bare: bool = False,
) -> bytes:
    """The pickle of `{"w": tensor}`, or of the tensor alone."""
    tensor = tensor_operations(storage_operations(storage, count, key), offset, shape, strides)
    body = tensor if bare else b"}" + _text("w") + tensor + b"s"
    return b"\x80\x02" + body + b"."
