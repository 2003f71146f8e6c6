"""Files that mean harm, or are merely damaged: hundreds, over all formats.

`build(folder)` writes them; nothing of it is kept in the repository. Each is to be refused with a
`CheckpointError`, quickly and with little memory, and none may run or write anything. Those that
pickle would run would create the file `run` next to themselves.
"""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.formats.hostile_hdf5 import hdf5
from tests.formats.hostile_orbax import orbax
from tests.formats.hostile_torch import (
    archive_of,
    composed,
    storage_operations,
    tensor_operations,
    tensor_pickle,
)

FORMATS = Path(__file__).parent
SOUND = {
    "torch": "torch_checkpoint.pt",
    "safetensors": "torch_dtypes.expected.safetensors",
    "npz": "mxnet1_net.expected.npz",
    "npy": "mxnet2_one.params",
    "mxnet": "mxnet1_sparse.params",
    "gguf": "gguf.gguf",
    "keras": "keras.keras",
    "keras-h5": "keras.weights.h5",
    "msgpack": "flax.msgpack",
}


class Calls:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def build(folder: Path) -> list[Path]:
    """Write all of them into a folder; the names say what they are."""
    made = []
    families = (cut, pickles, views, composed, zips, numpy_files, mxnet, gguf, safetensors)
    for makers in (*families, indexes, hdf5, orbax):
        for name, content in makers(folder):
            path = folder / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content(path)
            made.append(path)
    return made


Content = bytes | Callable[[Path], Any]


def cut(folder: Path) -> Iterator[tuple[str, Content]]:
    """Sound files of every format that end too early."""
    for kind, name in SOUND.items():
        whole = (FORMATS / name).read_bytes()
        for part in (0.02, 0.3, 0.6, 0.9):
            yield f"cut-{kind}-{part}", whole[: max(1, int(len(whole) * part))]
        if kind != "gguf":  # Which ends with padding.
            yield f"cut-{kind}-last", whole[:-1]


def pickles(folder: Path) -> Iterator[tuple[str, Content]]:
    """PyTorch files whose pickle would run code, or take for ever."""
    victim = str(folder / "run")
    calls = {
        "system": Calls(os.system, f"touch {victim}"),
        "exec": Calls(exec, f"open({victim!r}, 'w')"),
        "eval": Calls(eval, f"open({victim!r}, 'w')"),
        "open": Calls(open, victim, "w"),
        "import": Calls(__import__, "antigravity"),
        "getattr": Calls(getattr, 1, "real"),
        "numpy": Calls(np.zeros, 3),
        "compile": Calls(compile, "1", "x", "eval"),
    }
    for name, call in calls.items():
        for protocol in (2, 4):
            raw = pickle.dumps({"w": call}, protocol=protocol)
            yield f"pickle-{name}-{protocol}.pt", lambda path, raw=raw: archive_of(path, raw)
            if protocol == 4:
                yield f"pickle-{name}-bare.pt", raw
    raws = {
        "torch-load": b"ctorch\nload\nX\x01\x00\x00\x00x\x85R.",
        "from-bytes": b"ctorch.storage\n_load_from_bytes\nC\x01x\x85R.",
        "rebuild-numpy": b"cnumpy.core.multiarray\n_reconstruct\n)R.",
        "dotted": b"\x8c\x05torch\x8c\x0e_utils.os.systm\x93.",
        "builtins": b"c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
        "inst": b"(X\x01\x00\x00\x001ios\nsystem\n.",
        "obj": b"(cos\nsystem\nX\x01\x00\x00\x001o.",
        "newobj": b"cos\nsystem\n)\x81.",
        "newobj-ex": b"cos\nsystem\n)}\x92.",
        "extension": b"\x82\x01.",
        "build": b"}X\x01\x00\x00\x00a}bb.",
        "bad-persistent": b"X\x01\x00\x00\x00aQ.",
        "text-persistent": b"Pabc\n.",
        "stack": b"N" * 1_000_000 + b".",
        "dup": b"N" + b"2" * 4_000_000,
        "marks": b"(" * 2_000_000,
        "nested-tuples": b")" + b"\x85" * 1_400_000 + b".",
        "nested-lists": b"]" * 1_000_000 + b"a" * 999_999 + b".",
        "laughs": b"](NNNNNNNNNNe"
        + b"q\x00]("
        + b"h\x00" * 10
        + b"e"
        + b"".join(
            b"q" + bytes([i]) + b"](" + (b"h" + bytes([i])) * 10 + b"e" for i in range(1, 12)
        )
        + b".",
        "cycle": b"]q\x00h\x00a.",
        "long-key": b"}X"
        + struct.pack("<I", 3_000_000)
        + b"k" * 3_000_000
        + b"]("
        + b"K\x01" * 200
        + b"es.",
        "huge-integer": b"\x8b" + struct.pack("<I", 2**31 - 1) + b"1" * 100,
        "huge-text": b"X" + struct.pack("<I", 2**32 - 1) + b"1" * 100,
        "huge-frame": b"\x95" + b"\xff" * 8 + b"N",
        "memo": b"r\xff\xff\xff\xff.",
        "ordered-copies": b"]("
        + b"K\x01K\x02\x86" * 40_000
        + b"eq\x00"
        + b"0ccollections\nOrderedDict\nh\x00\x85R" * 400
        + b".",
        "empty": b"",
        "no-stop": b"N",
        "twice": b"N.N.",
    }
    for name, raw in raws.items():
        head = b"\x80\x02" + raw
        yield f"opcodes-{name}.pt", lambda path, head=head: archive_of(path, head)


def views(folder: Path) -> Iterator[tuple[str, Content]]:
    """Tensors that leave their storage, and storages that are not there."""
    told = {
        "beyond": ("FloatStorage", 2, 0, (3,), (1,)),
        "offset": ("FloatStorage", 2, 2, (1,), (1,)),
        "stride": ("FloatStorage", 2, 0, (2,), (2**62,)),
        "overflow": ("FloatStorage", 2, 0, (2**32, 2**32), (2**32, 2**32)),
        "wrap": ("FloatStorage", 2, 0, (2,), (2**64 - 1,)),
        "negative-size": ("FloatStorage", 2, 0, (-1,), (1,)),
        "negative-stride": ("FloatStorage", 2, 1, (2,), (-1,)),
        "negative-offset": ("FloatStorage", 2, -1, (1,), (1,)),
        "rank": ("FloatStorage", 2, 0, (1,) * 64, (1,) * 64),
        "ranks-differ": ("FloatStorage", 2, 0, (1, 1), (1,)),
        "expanded-bomb": ("FloatStorage", 2, 0, (2**40,), (0,)),
        "immense-empty": ("FloatStorage", 2, 0, (2**62, 0, 2**62), (0, 0, 0)),
        "text-size": ("FloatStorage", 2, 0, ("1",), (1,)),
        "count-too-large": ("FloatStorage", 3, 0, (2,), (1,)),
        "count-immense": ("FloatStorage", 2**62, 0, (2,), (1,)),
        "count-negative": ("FloatStorage", -2, 0, (2,), (1,)),
        "other-dtype": ("DoubleStorage", 2, 0, (2,), (1,)),
        "quantised": ("QInt8Storage", 8, 0, (2,), (1,)),
        "bool": ("BoolStorage", 8, 0, (8,), (1,)),
    }
    for name, described in told.items():
        yield (
            f"view-{name}.pt",
            lambda path, d=described: archive_of(path, tensor_pickle(*d), {"data/0": b"\x02" * 8}),
        )
    for key in ("1", "../0", "0/../0", "\u0660", "", "data.pkl"):
        raw = tensor_pickle("FloatStorage", 2, 0, (2,), (1,), key=key)
        yield f"key-{key.encode().hex()}.pt", lambda path, raw=raw: archive_of(path, raw)
    bare = tensor_operations(storage_operations("FloatStorage", 2), 0, (2,), (1,))
    nul = b"\x80\x02}X\x03\x00\x00\x00a\x00b" + bare + b"s."
    yield "name-nul.pt", lambda path: archive_of(path, nul)
    order = {"byteorder": b"middle"}
    raw = tensor_pickle("FloatStorage", 2, 0, (2,), (1,))
    yield "byteorder.pt", lambda path: archive_of(path, raw, order)
    yield "torchscript.pt", lambda path: archive_of(path, raw, {"constants.pkl": b"\x80\x02)."})


def _zip(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zips(folder: Path) -> Iterator[tuple[str, Content]]:
    """Archives that lie about what they hold."""
    array = _npy(np.arange(4.0))
    bomb = _npy(np.zeros(12_500_000))
    yield "zip-bomb.npz", _zip([("w.npy", bomb)], zipfile.ZIP_DEFLATED)
    del bomb
    yield "zip-lzma.npz", _zip([("w.npy", array)], zipfile.ZIP_LZMA)
    yield "zip-other.npz", _zip([("w.npy", array), ("evil.py", b"import os")])
    yield "zip-traversal.npz", _zip([("../../evil.npy", array)])
    yield "zip-absolute.npz", _zip([("/evil.npy", array)])
    yield "zip-drive.npz", _zip([("C:/evil.npy", array)])
    yield "zip-empty-folder", _zip([("a/", b"")])
    with_nul = _zip([("wXv.npy", array)]).replace(b"wXv", b"w\0v")
    yield "zip-nul.npz", with_nul
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "zip-twice.npz", _zip([("w.npy", array), ("w.npy", array)])
    sound = _zip([("w.npy", array), ("v.npy", array)])
    directory = sound.index(b"PK\x01\x02")
    second = sound.index(b"PK\x01\x02", directory + 1)
    for name, at, width, value in (
        ("size", directory + 24, 4, 2**31),
        ("stored", directory + 20, 4, 2**31),
        ("offset", directory + 42, 4, 2**31),
        ("overlap", second + 42, 4, 0),
        ("encrypted", directory + 8, 2, 1),
        ("method", directory + 10, 2, 12),
        ("name-length", directory + 28, 2, 65535),
        ("start", len(sound) - 6, 4, 2**32 - 2),
    ):
        raw = bytearray(sound)
        raw[at : at + width] = value.to_bytes(width, "little")
        yield f"zip-{name}.npz", bytes(raw)
    yield "zip-nothing-inside.keras", _zip([("config.json", b"{}"), ("metadata.json", b"{}")])
    yield "zip-not-hdf5.keras", _zip([("config.json", b"{}"), ("model.weights.h5", b"no")])
    yield "zip-two-pickles.pt", _zip([("a/data.pkl", b"N."), ("b/data.pkl", b"N.")])


def numpy_files(folder: Path) -> Iterator[tuple[str, Content]]:
    """Arrays that claim what they are not."""

    def header(text: str, body: bytes = bytes(32), version: bytes = b"\x01\x00") -> bytes:
        raw = text.encode()
        return b"\x93NUMPY" + version + struct.pack("<H", len(raw)) + raw + body

    def told(descr: str, shape: str) -> str:
        return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"

    bad = {
        "object": header(told("'|O'", "(4,)"), pickle.dumps(Calls(os.system, "touch run"))),
        "text": header(told("'<U8'", "(1,)")),
        "time": header(told("'<M8[s]'", "(4,)")),
        "record": header(told("[('a', '<f8')]", "(4,)")),
        "terabytes": header(told("'<f8'", f"({2**40},)")),
        "overflow": header(told("'<f8'", f"({2**33}, {2**33})")),
        "negative": header(told("'<f8'", "(-4,)")),
        "rank": header(told("'<f8'", "(" + "1," * 70 + ")")),
        "boolean": header(told("'|b1'", "(32,)"), b"\x07" * 32),
        "code": header("__import__('os').system('touch run')"),
        "nested": header("(" * 4000),
        "keys": header("{'descr': '<f8'}"),
        "longdouble": header(told("'<f16'", "(2,)")),
        "version": header(told("'<f8'", "(4,)"), version=b"\x07\x07"),
        "bool-size": header(told("'<f8'", "(True,)")),
        "half": header(told("'<f8'", "(4,)"), bytes(31)),
    }
    for name, raw in bad.items():
        yield f"npy-{name}.npy", raw
        yield f"npy-{name}.npz", _zip([("w.npy", raw)])


def mxnet(folder: Path) -> Iterator[tuple[str, Content]]:
    """Parameter files with impossible fields."""
    whole = (FORMATS / "mxnet1_sparse.params").read_bytes()
    for at, value in (
        *((16, 2**63), (16, 2**64 - 1), (24, 7), (28, 9), (32, 2**31), (32, 40)),
        *((36, 2**62), (44, 2**63), (48, 2**40), (80, 99), (84, 9)),
    ):
        width = 8 if value > 2**32 else 4
        raw = (
            whole[:at] + (value % 2 ** (8 * width)).to_bytes(width, "little") + whole[at + width :]
        )
        yield f"mxnet-{at}-{value}.params", raw
    yield "mxnet-more.params", whole + b"\0"
    head = struct.pack("<QQQ", 0x112, 0, 1)
    rows = struct.pack(
        "<Iiiqqiqqiiiiiq", 0xF993FAC9, 1, 2, 0, 2**20, 2, 2**40, 2**20, 1, 0, 0, 6, 1, 0
    )
    yield "mxnet-sparse-bomb.params", head + rows + struct.pack("<QQ", 1, 1) + b"x"


def gguf(folder: Path) -> Iterator[tuple[str, Content]]:
    """GGUF headers with impossible fields."""

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    def file(tensors: int, pairs: int, body: bytes = b"", version: int = 3) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + body + bytes(64)

    def tensor(dims: tuple[int, ...], kind: int = 0, offset: int = 0, name: bytes = b"w") -> bytes:
        sizes = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        return text(name) + sizes + struct.pack("<IQ", kind, offset)

    array = struct.pack("<I", 9)
    bad = {
        "array-of-2-63": file(0, 1, text(b"a") + array + struct.pack("<IQ", 8, 2**63)),
        "bytes-2-64": file(0, 1, text(b"a") + array + struct.pack("<IQ", 0, 2**64 - 1)),
        "nested": file(0, 1, text(b"a") + array + struct.pack("<IQ", 9, 1) * 50),
        "pairs": file(0, 2**64 - 1),
        "tensors": file(2**64 - 1, 0),
        "text": file(0, 1, struct.pack("<Q", 2**64 - 1)),
        "type": file(0, 1, text(b"a") + struct.pack("<I", 200)),
        "version": file(0, 0, version=9),
        "big-endian": file(0, 0, version=3 << 24),
        "wrap": file(1, 0, tensor((2**33, 2**33))),
        "rank": file(1, 0, tensor((1,) * 40)),
        "rank-2-32": file(1, 0, text(b"w") + struct.pack("<I", 2**32 - 1)),
        "offset": file(1, 0, tensor((2,), 0, 2**63)),
        "offset-end": file(1, 0, tensor((2,), 0, 2**64 - 32)),
        "twice": file(2, 0, tensor((2,)) + tensor((2,), 0, 32)),
        "overlap": file(2, 0, tensor((9,)) + tensor((2,), 0, 32, b"v")),
        "format": file(1, 0, tensor((256,), 16)),
        "block": file(1, 0, tensor((7,), 2)),
        "alignment": file(0, 1, text(b"general.alignment") + struct.pack("<II", 4, 2**31)),
    }
    for name, raw in bad.items():
        yield f"gguf-{name}.gguf", raw


def safetensors(folder: Path) -> Iterator[tuple[str, Content]]:
    """Headers that lie about the data, and text that is no header."""

    def file(header: Any, data: bytes = bytes(16)) -> bytes:
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(raw)) + raw + data

    def field(shape: Any, begin: Any, end: Any, dtype: str = "F32") -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    one = b'{"w":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}'
    bad = {
        "length": struct.pack("<Q", 2**63) + b"{}",
        "length-beyond": struct.pack("<Q", 99) + b"{}",
        "overlap": file({"a": field([4], 0, 16), "b": field([2], 0, 8)}),
        "hole": file({"a": field([1], 0, 4), "b": field([1], 12, 16)}),
        "trailing": file({"a": field([1], 0, 4)}),
        "short": file({"a": field([8], 0, 32)}),
        "size": file({"a": field([3], 0, 16)}),
        "overflow": file({"a": field([2**62, 16], 0, 16)}),
        "negative": file({"a": field([-4], 0, 16)}),
        "backwards": file({"a": field([4], 16, 0)}),
        "dtype": file({"a": field([4], 0, 16, "F33")}),
        "unread-dtype": file({"a": field([32], 0, 16, "F4")}),
        "rank": file({"a": field([1] * 40 + [4], 0, 16)}),
        "twice": file(one + b"," + one[1:] + b"}"),
        "nested": file(b"{" * 100_000),
        "list": file(b"{[1, 2]}"),
        "nul": file({"a\0": field([4], 0, 16)}),
        "booleans": file({"a": field([16], 0, 16, "BOOL")}, b"\x05" * 16),
        "newer": file({"__metadata__": {"ansatz.format": "99"}, "a": field([4], 0, 16)}),
        "tied-to-nothing": file(
            {
                "__metadata__": {"ansatz.format": "1", "ansatz.ties": '{"z": []}'},
                "a": field([4], 0, 16),
            }
        ),
    }
    for name, raw in bad.items():
        yield f"safetensors-{name}.safetensors", raw
    yield "text-html.safetensors", b"<!DOCTYPE html><html>404</html>"
    yield "text-lfs.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
    yield "text-nothing.pt", b""


def indexes(folder: Path) -> Iterator[tuple[str, Content]]:
    """Indexes that lead elsewhere."""
    names = ("../secret", "/etc/passwd", "..", "a/../../b", "C:\\x", "absent", "index-self.json")
    for i, name in enumerate(names):
        yield f"index-{i}.json", json.dumps({"weight_map": {"w": name}}).encode()
    yield "index-self.json", json.dumps({"weight_map": {"w": "index-self.json"}}).encode()
    yield "index-list.json", json.dumps({"weight_map": ["w"]}).encode()
    yield "index-nested.json", b'{"weight_map": ' + b"[" * 500_000
    yield "index-twice.json", b'{"weight_map": {"w": "a", "w": "b"}}'
