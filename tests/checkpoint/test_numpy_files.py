"""NumPy's files: what is written comes back, also what NumPy cannot say, and what is refused."""

import contextlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import load_arrays, save_arrays
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY
from ansatz.checkpoint.formats import open_file

SHAPES = hnp.array_shapes(min_dims=0, min_side=0, max_side=3)


def npy(descr: Any, shape: Any, body: bytes, fortran: bool = False, version: int = 1) -> bytes:
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode()
    width = "<H" if version == 1 else "<I"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(width, len(text)) + text + body


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as held:
        for name, content in members.items():
            held.writestr(f"{name}.npy", content)
    return file.getvalue()


def same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@given(
    dtypes=st.lists(st.sampled_from([*NUMPY, *EXTENSIONS]), max_size=4),
    shape=SHAPES,
    data=st.data(),
)
@settings(max_examples=25)
def test_arrays_of_every_dtype_come_back_bit_for_bit(
    dtypes: list[str], shape: tuple[int, ...], data: st.DataObject, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    arrays = {}
    for i, name in enumerate(dtypes):
        dtype = NUMPY.get(name) or EXTENSIONS[name]
        few = data.draw(hnp.arrays(np.int8, shape, elements=st.integers(0, 1)))
        arrays[f"layers.{i}"] = few.astype(dtype)
    save_arrays(path, arrays)
    loaded = load_arrays(path)
    assert list(loaded) == list(arrays)
    assert all(same(loaded[name], array) for name, array in arrays.items())


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    held = {"w": np.arange(6.0).reshape(2, 3).T, "b": np.array(3, ">i4"), "c": np.ones(2, "c8")}
    save_arrays(tmp_path / "a.npz", held)
    with np.load(tmp_path / "a.npz") as loaded:
        assert loaded.files == ["w", "b", "c"]
        assert all(np.array_equal(loaded[name], held[name]) for name in held)
    save_arrays(tmp_path / "a.npy", held["w"])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), held["w"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_of_numpy_are_read_in_any_layout(tmp_path: Path, save: Any) -> None:
    held = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">f4"),
        "scalar": np.array(True),
        "empty": np.zeros((0, 3)),
        "wide": np.arange(5000),
    }
    save(tmp_path / "a.npz", **held)
    loaded = load_arrays(tmp_path / "a.npz")
    for name, array in held.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype.isnative
        assert loaded[name].flags.c_contiguous


def test_one_array_and_lists_come_back_as_they_were(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npy", np.ones((2, 2)))
    assert load_arrays(tmp_path / "a.npy").shape == (2, 2)
    save_arrays(tmp_path / "a.npz", [np.zeros(i) for i in range(11)])
    assert [len(array) for array in load_arrays(tmp_path / "a.npz")] == list(range(11))


def test_ties_and_low_precision_of_a_network_survive(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    net.collect_params().cast("bfloat16")
    net.save(tmp_path / "a.npz")
    fresh = nn.Sequential(nn.Linear(3, 3, dtype="bfloat16"), nn.Linear(3, 3, dtype="bfloat16"))
    assert "the file ties '0.weight' and '1.weight'" in repr(fresh.load(tmp_path / "a.npz"))
    assert fresh[0].weight.dtype == jnp.bfloat16
    np.testing.assert_array_equal(fresh[1].weight.value, net[0].weight.value.T)


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_arrays(tmp_path / name, {"x": np.ones(3), "y": jnp.ones(2, jnp.bfloat16)})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    (tmp_path / "a.npz").rename(tmp_path / "a.safetensors")
    assert open_file(tmp_path / "a.safetensors").format == "npz"
    assert load_arrays(tmp_path / "a.safetensors")["x"].tolist() == [1, 1, 1]


def test_opaque_bytes_of_another_program_are_explained_not_guessed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.ones(2, jnp.bfloat16))
    with pytest.raises(az.CheckpointError, match="2 opaque bytes a value"):
        load_arrays(tmp_path / "a.npz")


def test_names_that_leave_a_folder_are_not_written(tmp_path: Path) -> None:
    for name in ("../x", "/x", "a/../b", "__ansatz__", ""):
        with pytest.raises(az.CheckpointError, match="cannot hold an array called"):
            save_arrays(tmp_path / "a.npz", {name: np.ones(1)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "held", [{}, {"a": np.ones(1), "b": np.ones(1)}, jnp.ones(2, jnp.bfloat16)]
)
def test_a_single_array_file_holds_one_array_of_numpys_dtypes(tmp_path: Path, held: Any) -> None:
    with pytest.raises(az.CheckpointError, match=r"use \.npz"):
        save_arrays(tmp_path / "a.npy", held)


GOOD = np.arange(3.0).tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("|O", (1,), b"cos\nsystem\n"), "could run code"),
        (npy("<f8", (3,), GOOD[:-1]), "should have 24 bytes"),
        (npy("<f8", (3,), GOOD + b"x"), "should have 24 bytes"),
        (npy("<f8", (2**40,), GOOD), "should have 8796093022208 bytes"),
        (npy("<f8", (2**62, 2**62), GOOD), "no array can have"),
        (npy("<f8", (0, 2**62), b""), "no array can have"),
        (npy("<f8", (-3,), GOOD), "no array can have"),
        (npy("<f8", (1,) * 33, GOOD), "33 dimensions"),
        (npy("<f8", (3.0,), GOOD), "damaged NumPy header"),
        (npy("<f8", [3], GOOD), "damaged NumPy header"),
        (npy("<U3", (2,), GOOD), "no dtype of numbers"),
        (npy([("a", "<f8")], (3,), GOOD), "no dtype of numbers"),
        (npy("<f99", (3,), GOOD), "unknown dtype|no dtype of numbers"),
        (npy("<f8", (3,), GOOD, version=9), "unknown version"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "cut off"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 4000) + b"(" * 4000, "damaged NumPy header"),
        (b"\x93NUMPY", "unknown version"),
        (npy("|b1", (2,), b"\x01\x02"), "neither 0 nor 1"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_or_hostile_array_is_refused(
    tmp_path: Path, content: bytes, message: str, packed: bool
) -> None:
    path = tmp_path / "bad"
    path.write_bytes(archive(x=content) if packed else content)
    with pytest.raises(az.CheckpointError, match=message) as caught:
        load_arrays(path)
    assert "bad" in str(caught.value)


def test_a_side_entry_that_lies_is_refused(tmp_path: Path) -> None:
    for told in (b"no json", b'{"dtypes": {"x": "O"}, "metadata": {}}', b"[" * 100_000, b"[]"):
        side = npy("|u1", (len(told),), told)
        (tmp_path / "a.npz").write_bytes(archive(x=npy("<f8", (3,), GOOD), __ansatz__=side))
        with pytest.raises(az.CheckpointError, match="is not what Ansatz writes"):
            load_arrays(tmp_path / "a.npz")
    told = b'{"dtypes": {"x": "bfloat16"}, "metadata": {}}'
    side = npy("|u1", (len(told),), told)
    (tmp_path / "a.npz").write_bytes(archive(x=npy("<f8", (3,), GOOD), __ansatz__=side))
    with pytest.raises(az.CheckpointError, match="which cannot be bfloat16"):
        load_arrays(tmp_path / "a.npz")


@given(data=st.data())
@settings(max_examples=60)
def test_a_mutated_archive_is_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.npz"
    save_arrays(path, {"x": np.arange(4.0), "y": jnp.ones((2, 2), jnp.bfloat16)})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(
        raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    )
    with contextlib.suppress(az.CheckpointError):
        load_arrays(path)
