"""Files of Keras and Flax: read value for value, into networks too, and nothing from elsewhere."""

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import load_arrays, rename_tables, save_arrays
from ansatz.checkpoint.formats import open_file

FORMATS = Path(__file__).parent.parent / "formats"


@pytest.mark.parametrize("name", ["keras.weights.h5", "keras.keras"])
def test_weights_of_keras_are_read_by_place_and_its_layers_names_are_metadata(name: str) -> None:
    contents = open_file(FORMATS / name)
    with np.load(FORMATS / "keras.expected.npz") as expected:
        np.testing.assert_array_equal(
            contents.read("layers.dense.0"), expected["sequential/dense/kernel"]
        )
        np.testing.assert_array_equal(
            contents.read("layers.dense_1.1"), expected["sequential/head/bias"]
        )
        assert len(contents.entries) >= 8
    assert contents.metadata["layers.dense_1"] == "head"


def test_a_model_of_keras_computes_the_same_here() -> None:
    net = nn.Sequential(nn.Dense(4, activation="relu"), nn.BatchNorm(eps=1e-3), nn.Dense(3))
    net.load(
        FORMATS / "keras.weights.h5",
        rename=[
            {"optimizer.*": None},
            *rename_tables.KERAS,
            {"dense.*": "0.*", "batch_normalization.*": "1.*", "dense_1.*": "2.*"},
        ],
    )
    net.eval()
    with np.load(FORMATS / "keras.expected.npz") as expected:
        np.testing.assert_allclose(net(expected["input"]), expected["output"], atol=1e-6)


def test_bfloat16_of_keras_is_bfloat16() -> None:
    found = load_arrays(FORMATS / "keras_bfloat16.weights.h5")
    with np.load(FORMATS / "keras_bfloat16.expected.npz") as expected:
        assert found["layers.dense.0"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(found["layers.dense.0"].astype("f4"), expected["kernel"])


def test_what_is_written_for_keras_comes_back(tmp_path: Path) -> None:
    held = {
        "layers.dense.0": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "layers.dense.1": jnp.ones(3, jnp.bfloat16),
        "layers.dense_1.0": np.array(True),
    }
    save_arrays(tmp_path / "a.weights.h5", held)
    found = load_arrays(tmp_path / "a.weights.h5")
    for name, array in held.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(az.CheckpointError, match=r"such as 'layers\.dense\.0', and '0\.weight'"):
        save_arrays(tmp_path / "a.weights.h5", {"0.weight": np.ones(1)})
    assert set(load_arrays(tmp_path / "a.weights.h5")) == set(held)


def test_arrays_of_flax_are_read_also_in_chunks() -> None:
    contents = open_file(FORMATS / "flax.msgpack")
    with np.load(FORMATS / "flax.expected.npz") as expected:
        assert set(contents.entries) == set(expected.files)
        for name in expected.files:
            found = contents.read(name)
            if name == "low":
                assert found.dtype == jnp.bfloat16
                found = found.astype("f4")
            assert found.dtype == expected[name].dtype
            np.testing.assert_array_equal(found, expected[name])
    assert contents.metadata["step"] == "7"


def test_what_is_written_for_flax_comes_back(tmp_path: Path) -> None:
    held = {
        "params.Dense_0.kernel": np.arange(6.0).reshape(2, 3),
        "params.Dense_0.bias": jnp.ones(3, jnp.bfloat16),
        "scalar": np.array(2j, "complex64"),
        "empty": np.zeros((0, 3), "int8"),
    }
    save_arrays(tmp_path / "a.msgpack", held)
    found = load_arrays(tmp_path / "a.msgpack")
    for name, array in held.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == np.asarray(array).tobytes()
    with pytest.raises(az.CheckpointError, match=r"'a\.b' goes on where another name ends"):
        save_arrays(tmp_path / "b.msgpack", {"a": np.ones(1), "a.b": np.ones(1)})


def packed(*described: Any) -> bytes:
    return msgpack.packb({"w": msgpack.ExtType(1, msgpack.packb(described))})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (packed([2], "float32", bytes(7)), "with 7 bytes"),
        (packed([2**40], "float32", bytes(8)), "with 8 bytes"),
        (packed([2**62, 2**62], "float32", b""), "no array can have"),
        (packed([-1], "float32", b""), "no array can have"),
        (packed([2], "object", bytes(16)), "damaged"),
        (packed([2], "float32", [1.0, 2.0]), "damaged"),
        (packed([[2]], "float32", bytes(8)), "no array can have"),
        (packed([2], "bool", b"\x01\x02"), "neither 0 nor 1"),
        (msgpack.packb({"w": msgpack.ExtType(99, b"")}), r"unknown extension \(99\)"),
        (msgpack.packb({"w": b"bytes"}), "holds a bytes as 'w'"),
        (b"\x82\xa1a\x01\xa1a\x02", "damaged MessagePack"),
        (b"\x82\xa1a\x01", "damaged MessagePack"),
        (b"\xdf\xff\xff\xff\xff\xa1a\x01", "damaged MessagePack"),
        (b"\x81\xa1a" * 200 + b"\x01", "nested more than 64 deep|damaged MessagePack"),
        (b"\x81\xa1a" * 100_000 + b"\x01", "damaged MessagePack"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "damaged MessagePack"),
        (msgpack.packb({"__msgpack_chunked_array__": True}), "chunks that do not fit"),
        (
            msgpack.packb({"__msgpack_chunked_array__": True, "shape": {"0": 9}, "chunks": {}}),
            "chunks that do not fit",
        ),
    ],
)
def test_a_damaged_or_hostile_file_of_flax_is_refused(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    (tmp_path / "bad.msgpack").write_bytes(raw)
    with pytest.raises(az.CheckpointError, match=message) as caught:
        load_arrays(tmp_path / "bad.msgpack")
    assert "bad.msgpack" in str(caught.value)


def hdf5(path: Path, kind: str) -> Path:
    """A file that leads elsewhere, or claims what it does not hold."""
    secret = path.parent / "secret.h5"
    with h5py.File(secret, "w") as other:
        other["w"] = np.ones(3)
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        if kind == "external link":
            group["0"] = h5py.ExternalLink(str(secret), "/w")
        elif kind == "soft link":
            group["1"] = np.ones(2)
            group["0"] = h5py.SoftLink("/layers/dense/vars/1")
        elif kind == "cycle":
            group["0"] = file["layers"]
        elif kind == "hard link":
            group["1"] = np.ones(2)
            group["0"] = group["1"]
        elif kind == "external storage":
            group.create_dataset("0", (3,), "f8", external=[(str(secret), 0, 24)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((3,), "f8")
            layout[:] = h5py.VirtualSource(str(secret), "w", (3,))
            group.create_virtual_dataset("0", layout)
        elif kind == "shape bomb":
            group.create_dataset("0", (2**20, 2**20), "f8")
        elif kind == "chunked bomb":
            group.create_dataset("0", (2**20, 2**20), "f8", chunks=(1, 2), compression="gzip")
        elif kind == "filter":
            group.create_dataset("0", data=np.ones(64), chunks=(8,), scaleoffset=2)
        elif kind == "text":
            group["0"] = "text"
        elif kind == "objects":
            group.create_dataset("0", data=["a"], dtype=h5py.special_dtype(vlen=str))
        elif kind == "record":
            group["0"] = np.zeros(2, [("a", "f4")])
        elif kind == "null":
            group.create_dataset("0", data=h5py.Empty("f4"))
        elif kind == "type":
            group["0"] = np.dtype("f4")
        elif kind == "deep":
            for _ in range(70):
                group = group.create_group("x")
            group["0"] = np.ones(1)
    return path


KINDS = {
    "external link": "is a link",
    "soft link": "is a link",
    "cycle": "stands in two places",
    "hard link": "stands in two places",
    "external storage": "lies in other files",
    "virtual": "lies in other files",
    "shape bomb": "but 0 are stored",
    "chunked bomb": "would take",
    "filter": "filter that is not known",
    "text": "no dtype of numbers",
    "objects": "no dtype of numbers",
    "record": "no dtype of numbers",
    "null": "has no shape",
    "type": "neither a group nor a dataset",
    "deep": "nested too deeply",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_hostile_file_of_keras_is_refused(tmp_path: Path, kind: str, zipped: bool) -> None:
    path = hdf5(tmp_path / "bad.h5", kind)
    if zipped:
        with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
            archive.writestr("config.json", "{}")
            archive.write(path, "model.weights.h5")
        path = tmp_path / "bad.keras"
    with pytest.raises(az.CheckpointError, match=KINDS[kind]) as caught:
        load_arrays(path)
    assert path.name in str(caught.value)


def test_compressed_weights_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("dense/vars/0", data=np.eye(8), chunks=(2, 8), compression="gzip")
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.h5", "model.weights.h5")
    for name in ("a.h5", "a.keras"):
        np.testing.assert_array_equal(load_arrays(tmp_path / name)["dense.0"], np.eye(8))


def layer(path: Path, attributes: int = 0, **options: Any) -> Path:
    """A layer called "my dense" with a weight in bfloat16, in a file made with these options."""
    with h5py.File(path, "w", **options) as file:
        group = file.create_group("layers/dense/vars")
        weight = group.create_dataset("0", data=np.ones((2, 3), jnp.bfloat16).view("V2"))
        for node, name, text in ((group, "name", "my dense"), (weight, "dtype", "bfloat16")):
            node.attrs[name] = text
            for i in range(attributes):
                node.attrs[f"x{i}"] = "y" * i
    return path


@pytest.mark.parametrize("attributes", [0, 4, 20])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"userblock_size": 512},
        {"userblock_size": 4096, "libver": "latest"},
        {"libver": "latest"},
        {"libver": "latest", "track_order": True},
        {"libver": ("v108", "v108")},
    ],
    ids=str,
)
def test_names_and_dtypes_are_read_whatever_h5py_was_told_when_writing(
    tmp_path: Path, options: dict[str, Any], attributes: int
) -> None:
    path = layer(tmp_path / "a.weights.h5", attributes, **options)
    if attributes > 8 and "libver" in options:  # Which the library keeps apart from their object.
        with pytest.raises(az.CheckpointError, match=r"says its dtype in an attribute .*no libver"):
            open_file(path)
        return
    contents = open_file(path)
    assert contents.metadata == {"layers.dense": "my dense"}
    assert contents.notes == ()
    value = contents.read("layers.dense.0")
    assert value.dtype == jnp.bfloat16
    assert value.tolist() == [[1] * 3] * 2


def test_the_name_of_a_layer_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.weights.h5", "w", libver="latest") as file:
        group = file.create_group("layers/dense/vars")
        group["0"] = np.ones(2)
        for i in range(20):
            group.attrs["name" if i == 9 else f"x{i}"] = "my dense"
    contents = open_file(tmp_path / "a.weights.h5")
    assert contents.metadata == {}
    assert contents.notes[0].startswith("the layer's name is left out, ")
    assert contents.notes[0].endswith(": '/layers/dense/vars'")


@given(data=st.data())
@settings(max_examples=40)
def test_a_cut_or_mutated_file_of_flax_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.msgpack"
    raw = bytearray((FORMATS / "flax.msgpack").read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(1, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(io.BytesIO(raw).read(data.draw(st.integers(1, len(raw)))))
    with contextlib.suppress(az.CheckpointError):
        load_arrays(path)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_mutated_weights_of_keras_are_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.h5"
    names = ["keras.weights.h5", "keras_bfloat16.weights.h5", "latest"]
    name = data.draw(st.sampled_from(names))
    source = layer(path, 4, libver="latest") if name == "latest" else FORMATS / name
    raw = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(8, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    with contextlib.suppress(az.CheckpointError):
        load_arrays(path)
