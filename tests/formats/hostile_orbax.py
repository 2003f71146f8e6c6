"""Folders like checkpoints of Orbax that lead elsewhere, or claim what they do not hold."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

FORMATS = Path(__file__).parent


def orbax(folder: Path) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """The names and the makers of the folders."""
    for name, text in _descriptions():
        yield f"orbax-described-{name}", lambda path, text=text: _copy(path, text)
    for name, change in _changes():
        yield f"orbax-{name}", lambda path, change=change: change(_copy(path))
    for name, keys in _names():
        for layout in ("ocdbt", "plain"):
            text = _description(keys, ocdbt=layout == "ocdbt")
            yield f"orbax-name-{name}-{layout}", lambda path, text=text: _copy(path, text)
    for version, name, change in _arrays():
        yield (
            f"orbax-zarr{version}-{name}",
            lambda path, v=version, change=change: _plain(path, v, change),
        )
    yield "orbax-bomb", _bomb


def _copy(path: Path, description: str | None = None) -> Path:
    shutil.copytree(FORMATS / "orbax", path)
    if description is not None:
        (path / "_METADATA").write_text(description)
    return path


def _description(keys: list[Any], *, ocdbt: bool = True, zarr3: bool = False) -> str:
    leaf = {
        "key_metadata": [{"key": key, "key_type": 2} for key in keys],
        "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": False},
    }
    return json.dumps({"tree_metadata": {"x": leaf}, "use_ocdbt": ocdbt, "use_zarr3": zarr3})


def _descriptions() -> Iterator[tuple[str, str]]:
    yield "empty", ""
    yield "nested", "[" * 100_000
    yield "list", "[]"
    yield "many", '{"tree_metadata": [' + "[]," * 3_000_000 + "[]]}"
    yield "long", '"' + "x" * (1 << 25) + '"'
    yield "number", '{"tree_metadata": 1}'
    yield "no-keys", _description([])
    yield "key-list", _description([[1]])
    yield "key-nul", _description(["a\0b"])
    yield "kvstore", json.dumps({"tree_metadata": {"x": {"kvstore": "http://localhost:1/"}}})


def _names() -> Iterator[tuple[str, list[str]]]:
    yield "parent", ["..", "..", "etc"]
    yield "dots", ["", "", ""]
    yield "path", ["a/../../../x"]
    yield "absolute", ["/etc/passwd"]
    yield "drive", ["C:\\x"]
    yield "file-url", ["file:///etc/passwd"]
    yield "web-url", ["http://localhost:1/x"]


def _changes() -> Iterator[tuple[str, Callable[[Path], Any]]]:
    whole = (FORMATS / "orbax" / "manifest.ocdbt").read_bytes()

    def manifest(raw: bytes) -> Callable[[Path], Any]:
        return lambda path: (path / "manifest.ocdbt").write_bytes(raw)

    yield "manifest-empty", manifest(b"")
    yield "manifest-garbage", manifest(whole[:4] + b"\xff" * 300)
    yield "manifest-cut", manifest(whole[:-20])
    yield "manifest-longer", manifest(whole + b"\0" * 9)
    yield "manifest-length", manifest(whole[:4] + b"\xff" * 8 + whole[12:])
    yield "manifest-absent", lambda path: (path / "manifest.ocdbt").unlink()
    yield "no-data", lambda path: shutil.rmtree(path / "d")
    yield "link-in-data", lambda path: (path / "d" / "x").symlink_to("/etc/passwd")
    yield "link-to-folder", lambda path: (path / "x").symlink_to("/")

    def linked(path: Path) -> None:
        (path / "_METADATA").unlink()
        (path / "_METADATA").symlink_to(FORMATS / "orbax" / "_METADATA")

    yield "link-to-description", linked

    def item(path: Path) -> None:
        shutil.rmtree(path)
        path.mkdir()
        (path / "default").symlink_to(FORMATS / "orbax")

    yield "link-to-item", item


def _arrays() -> Iterator[tuple[int, str, dict[str, Any]]]:
    """What is wrong in the description of an array of four numbers."""
    two: dict[str, dict[str, Any]] = {
        "shape": {"shape": [2**50]},
        "overflow": {"shape": [2**40, 2**40], "chunks": [1, 1]},
        "negative": {"shape": [-4]},
        "rank": {"shape": [1] * 40, "chunks": [1] * 40},
        "chunk": {"chunks": [2**40]},
        "chunk-zero": {"chunks": [0]},
        "object": {"dtype": "|O"},
        "text": {"dtype": "<U9"},
        "record": {"dtype": [["a", "<f4"], ["b", "<f4"]]},
        "blosc": {"compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 0}},
        "unknown": {"compressor": {"id": "evil"}},
        "filter": {"filters": [{"id": "pickle"}]},
        "missing": {"dtype": None},
    }
    grid = {"name": "regular", "configuration": {"chunk_shape": [2**40]}}
    plain: list[Any] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    deep = plain
    for _ in range(40):
        inner = {"chunk_shape": [4], "codecs": deep, "index_codecs": plain}
        deep = [{"name": "sharding_indexed", "configuration": inner}]
    three = {
        "shape": {"shape": [2**50]},
        "chunk": {"chunk_grid": grid},
        "codec": {"codecs": [{"name": "evil"}]},
        "deep": {"codecs": deep},
        "transformer": {"storage_transformers": [{"name": "x"}]},
        "elsewhere": {"kvstore": {"driver": "file", "path": "/etc/"}},
    }
    for name, change in two.items():
        yield 2, name, change
    for name, change in three.items():
        yield 3, name, change


def _plain(path: Path, version: int, change: dict[str, Any], count: int = 4) -> None:
    """A checkpoint without OCDBT, of one array, in whose description something is changed."""
    driver = "zarr" if version == 2 else "zarr3"
    place = path / "w"
    place.mkdir(parents=True)
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{place}/"}}
    if version == 2:
        spec["metadata"] = {"compressor": {"id": "zstd", "level": 1}, "chunks": [count]}
    array = np.zeros(count, "u1") if count > 4 else np.ones(count, "f4")
    options = {"store_data_equal_to_fill_value": True}
    store = tensorstore.open(
        spec | options, create=True, dtype=array.dtype, shape=array.shape
    ).result()
    store.write(array).result()
    described = place / (".zarray" if version == 2 else "zarr.json")
    told = json.loads(described.read_text()) | change
    described.write_text(json.dumps(told))
    (path / "_METADATA").write_text(_description(["w"], ocdbt=False, zarr3=version == 3))


def _bomb(path: Path) -> None:
    _plain(path, 2, {"shape": [4], "chunks": [4]}, 1 << 26)
