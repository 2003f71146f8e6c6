"""PyTorch archives made by hand, sound and not, without PyTorch."""

import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
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


def composed_pickle(function: str, *operations: bytes) -> bytes:
    """The pickle of `{"w": function(*arguments)}`, with the operations that push the arguments."""
    call = _name("torch._utils", function) + b"(" + b"".join(operations) + b"tR"
    return b"\x80\x02}" + _text("w") + call + b"s."


def composed(folder: Path) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """Sparse and quantised tensors whose parts do not fit together."""

    def tensor(storage: str, key: str, count: int, *shape: int, stride: int = 1) -> bytes:
        strides = (stride,) * len(shape)
        return tensor_operations(storage_operations(storage, count, key), 0, shape, strides)

    def sparse(layout: str, *parts: bytes) -> bytes:
        told = _name("torch.serialization", "_get_layout") + _text(layout) + b"\x85R"
        return composed_pickle("_rebuild_sparse_tensor", told, b"(", *parts, b"t")

    def coo(shape: Any, values: bytes = tensor("FloatStorage", "1", 2, 1)) -> bytes:
        return sparse(
            "torch.sparse_coo", tensor("LongStorage", "0", 1, 1, 1), values, _plain(shape)
        )

    def csr(shape: Any, storage: str = "LongStorage", count: int = 3) -> bytes:
        rows = tensor(storage, "2", count, count)
        columns, values = tensor("LongStorage", "0", 1, 1), tensor("FloatStorage", "1", 2, 1)
        return sparse("torch.sparse_csr", rows, columns, values, _plain(shape))

    def quantised(scheme: bytes, storage: str = "QInt8Storage") -> bytes:
        integers = [storage_operations(storage, 8), _plain(0), _plain((8,)), _plain((1,))]
        return composed_pickle("_rebuild_qtensor", *integers, scheme, b"\x89", b"}")

    def longs(*values: int) -> bytes:
        return struct.pack(f"<{len(values)}q", *values)

    number, row = _name("torch", "per_tensor_affine"), _name("torch", "per_channel_affine")
    scales = tensor("FloatStorage", "1", 2, 2)
    pairs = tensor("ComplexFloatStorage", "1", 1, 8, stride=0)
    many = tensor("FloatStorage", "1", 2, 2**40, stride=0)
    bad = {
        "coo-outside": (coo((9,)), longs(9), b""),
        "coo-negative": (coo((9,)), longs(-1), b""),
        "coo-bomb": (coo((2**50,)), longs(0), b""),
        "coo-overflow": (coo((2**70,)), longs(0), b""),
        "coo-rank": (coo((9, 9)), longs(0), b""),
        "coo-no-rank": (coo(()), longs(0), b""),
        "coo-text": (coo("9"), longs(0), b""),
        "coo-no-tensor": (coo((9,), _plain([1.0])), longs(0), b""),
        "coo-repeated": (coo((9,), many), longs(0), b""),
        "csr-outside": (csr((2, 3)), longs(3), longs(0, 1, 1)),
        "csr-first": (csr((2, 3)), longs(0), longs(-1, 0, 1)),
        "csr-last": (csr((2, 3)), longs(0), longs(0, 1, 2**40)),
        "csr-backwards": (csr((2, 3)), longs(0), longs(0, 2, 1)),
        # Differences of these starts wrap around to numbers that are not negative.
        "csr-wrapped": (csr((4, 3), count=5), longs(0), longs(0, 2**63 - 1, -(2**63), -1, 1)),
        "csr-wrapped-int32": (
            csr((4, 3), "IntStorage", 5),
            longs(0),
            struct.pack("<5i", 0, 2**31 - 1, -(2**31), -1, 1),
        ),
        "csr-rows": (csr((5, 3)), longs(0), longs(0, 1, 1)),
        "csr-bomb": (csr((2, 2**50)), longs(0), longs(0, 1, 1)),
        "layout": (sparse("os.system", _plain(())), longs(0), b""),
        "scheme": (quantised(_plain((1, 0.5, 3))), longs(0), b""),
        "scheme-short": (quantised(b"(" + number + b"t"), longs(0), b""),
        "scale-text": (quantised(b"(" + number + _text("x") + b"K\x01t"), longs(0), b""),
        "scale-huge": (quantised(b"(" + number + _plain(1e300) + b"K\x01t"), longs(0), b""),
        "scale-integer": (quantised(b"(" + number + _plain(10**400) + b"K\x01t"), longs(0), b""),
        "scale-complex": (quantised(b"(" + row + pairs + pairs + b"K\x00t"), longs(0), b""),
        "no-channels": (quantised(b"(" + row + b"K\x01K\x01K\x00t"), longs(0), b""),
        "channels": (quantised(b"(" + row + scales + scales + b"K\x00t"), longs(0), b""),
        "axis": (quantised(b"(" + row + scales + scales + b"K\x07t"), longs(0), b""),
        "plain-storage": (
            quantised(b"(" + number + _plain(0.5) + b"K\x01t", "CharStorage"),
            longs(0),
            b"",
        ),
    }
    for name, (raw, first, third) in bad.items():
        members = {"data/0": first, "data/1": bytes(8), "data/2": third}
        yield f"torch-{name}.pt", lambda path, raw=raw, m=members: archive_of(path, raw, m)
