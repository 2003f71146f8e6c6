"""ONNX: initialisers are read from the model or from next to it, and from nowhere else."""

import contextlib
import shutil
import struct
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz.checkpoint import load_arrays
from ansatz.checkpoint.formats import open_file

FORMATS = Path(__file__).parent.parent / "formats"


@pytest.mark.parametrize("name", ["onnx.onnx", "external/external.onnx"])
def test_every_initialiser_is_what_onnx_says_it_is(name: str) -> None:
    contents = open_file(FORMATS / name)
    with np.load(FORMATS / "onnx.expected.npz") as expected:
        assert set(contents.entries) == set(expected.files)
        for key in expected.files:
            found = contents.read(key)
            if key == "bfloat16":
                assert found.dtype == jnp.bfloat16
                found = found.astype("f4")
            assert found.dtype == expected[key].dtype, key
            np.testing.assert_array_equal(found, expected[key], err_msg=key)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(
    *dims: int, name: bytes = b"w", dtype: int = 1, raw: bytes = b"", more: bytes = b""
) -> bytes:
    shape = b"".join(field(1, dim) for dim in dims)
    return field(5, shape + field(2, dtype) + field(8, name) + field(9, raw) + more)


def external(**told: str) -> bytes:
    pairs = b"".join(
        field(13, field(1, key.encode()) + field(2, value.encode())) for key, value in told.items()
    )
    return field(5, field(1, 2) + field(2, 1) + field(8, b"w") + pairs + field(14, 1))


def model(*initialisers: bytes) -> bytes:
    return field(1, 8) + field(7, b"".join(initialisers))


EIGHT = struct.pack("<2f", 1, 2)


def test_a_model_made_by_hand_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(model(tensor(2, raw=EIGHT)))
    assert load_arrays(tmp_path / "a")["w"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (model(tensor(3, raw=EIGHT)), "should have 12 bytes of values, but has 8"),
        (model(tensor(2**40, raw=EIGHT)), "should have"),
        (model(tensor(2**63, raw=EIGHT)), "no array can have"),
        (model(tensor(2**32, 2**32, raw=EIGHT)), "no array can have"),
        (model(tensor(*[1] * 33, raw=EIGHT[:4])), "33 dimensions"),
        (model(tensor(*[1] * 70, raw=EIGHT[:4])), "more than 64 dimensions"),
        (model(tensor(2, raw=EIGHT, dtype=8)), "dtype 8 of ONNX"),
        (model(tensor(2, raw=EIGHT), tensor(2, raw=EIGHT)), "'w' occurs twice"),
        (model(tensor(2, raw=EIGHT, name=b"")), "occurs twice, or is too many"),
        (model(tensor(2, raw=EIGHT, name=b"a\0")), "has a NUL"),
        (model(tensor(2, raw=EIGHT, name=b"\xff")), "no valid UTF-8"),
        (model(tensor(2, raw=EIGHT, more=field(4, EIGHT))), "or more than once"),
        (model(tensor(2, raw=b"\x01\x02", dtype=9)), "neither 0 nor 1"),
        (model() + model(), "has 2 graphs"),
        (field(1, 8) + field(2, b"x"), "has 0 graphs"),
        (field(1, 8) + b"\x3a" + varint(2**62), "goes beyond its end"),
        (field(1, 8) + b"\x3a" + b"\xff" * 11, "does not end"),
        (field(1, 8) + b"\x3a\x02\x2f\x00", "unknown kind 7"),
        (model(field(5, b"\x0a\xff\x01")), "goes beyond its end"),
        (model(external(location="../secret")), "is not next to it"),
        (model(external(location="/etc/passwd")), "is not next to it"),
        (model(external()), "is not next to it"),
        (model(external(location="absent")), "which is not there"),
        (model(external(location="link")), "is a link out of its folder"),
        (model(external(location="data", offset="99")), "does not have at that place"),
        (model(external(location="data", offset="-8")), "does not have at that place"),
        (model(external(location="data", length="9" * 50)), "does not have at that place"),
    ],
)
def test_a_damaged_or_hostile_model_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(EIGHT)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "data").write_bytes(EIGHT)
    (folder / "bad.onnx").write_bytes(raw)
    with pytest.raises(az.CheckpointError, match=message) as caught:
        load_arrays(folder / "bad.onnx")
    assert "bad.onnx" in str(caught.value)


def test_a_model_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    raw = model(tensor(2, raw=EIGHT))
    for length in range(3, len(raw)):
        (tmp_path / "cut").write_bytes(raw[:length])
        with pytest.raises(az.CheckpointError):
            load_arrays(tmp_path / "cut")


@given(data=st.data())
@settings(max_examples=60)
def test_a_mutated_model_is_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    name = data.draw(st.sampled_from(["onnx.onnx", "external/external.onnx"]))
    shutil.copy(FORMATS / "external" / "external.data", folder)
    raw = bytearray((FORMATS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(2, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.onnx").write_bytes(raw)
    with contextlib.suppress(az.CheckpointError):
        load_arrays(folder / "a.onnx")
