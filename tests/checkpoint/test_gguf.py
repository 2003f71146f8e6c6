"""GGUF files: what the format's library wrote is read as it reads it, and every flaw is refused."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz.checkpoint import gguf_blocks, load_arrays
from ansatz.checkpoint.formats import open_file

FORMATS = Path(__file__).parent.parent / "formats"


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, dims: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


def gguf(
    *tensors: bytes,
    pairs: tuple[bytes, ...] = (),
    data: bytes = bytes(64),
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    told = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, *told) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("kind", gguf_blocks.FORMATS)
def test_no_numbers_are_read_as_none(tmp_path: Path, kind: int) -> None:
    path = written(tmp_path / "a.gguf", gguf(tensor("w", (256, 0), kind)))
    assert open_file(path).read("w").shape == (0, 256)


def test_every_tensor_is_what_the_library_makes_of_it() -> None:
    contents = open_file(FORMATS / "gguf.gguf")
    with np.load(FORMATS / "gguf.expected.npz") as expected:
        assert set(contents.entries) == set(expected.files)
        for name in expected.files:
            found = contents.read(name)
            assert found.shape == expected[name].shape
            if name == "bf16":
                assert found.dtype == jnp.bfloat16
                found = found.astype("f4")
            assert found.dtype == expected[name].dtype
            np.testing.assert_array_equal(found, expected[name], err_msg=name)
    assert contents.entries["q6_k"].held == "Q6_K"
    assert contents.metadata["general.name"] == '"a small one"'
    assert contents.metadata["some.number"] == "7"
    assert contents.metadata["some.list"] == '"array of 2"'


def test_dimensions_are_given_outermost_first(tmp_path: Path) -> None:
    raw = gguf(tensor("w", (2, 3)), data=np.arange(6, dtype="<f4").tobytes())
    assert load_arrays(written(tmp_path / "a", raw))["w"].tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (gguf(version=1), "of version 1"),
        (gguf(version=3 << 24), "big-endian"),
        (gguf(counts=(0, 2**63)), "pairs and tensors should take"),
        (gguf(counts=(2**63, 0)), "pairs and tensors should take"),
        # 57 bytes that make the format's own library count to 2⁶³.
        (gguf(pairs=(pair("a", 9, struct.pack("<IQ", 8, 2**63)),)), "should take"),
        (gguf(pairs=(pair("a", 9, struct.pack("<IQ", 0, 2**63)),)), "should take"),
        (gguf(pairs=(pair("a", 77, b""),)), "unknown type 77"),
        (gguf(pairs=(pair("a", 9, struct.pack("<IQ", 9, 1) * 9),)), "nested more than 4 deep"),
        (gguf(pairs=(pair("a", 0, b"1"),) * 2), "'a' occurs twice"),
        (gguf(pairs=(struct.pack("<Q", 2**64 - 1) + bytes(20),)), "should take"),
        (gguf(pairs=(struct.pack("<Q", 2) + b"\xff\xff" + bytes(20),)), "no valid UTF-8"),
        (gguf(pairs=(pair("general.alignment", 4, struct.pack("<I", 0)),)), "alignment is 0"),
        (gguf(pairs=(pair("general.alignment", 4, struct.pack("<I", 48)),)), "alignment is 48"),
        (gguf(pairs=(pair("general.alignment", 8, text("x")),)), "alignment is"),
        (gguf(tensor("w", (2,)), tensor("w", (2,), 0, 32)), "'w' occurs twice"),
        (gguf(tensor("w", (2,)), tensor("v", (2,))), "overlaps"),
        (gguf(tensor("w", (2,), 0, 4)), "alignment asks"),
        (gguf(tensor("w", (2,), 0, 2**40)), "cut off"),
        (gguf(tensor("w", (17,))), "cut off"),
        (gguf(tensor("w", (2**33, 2**33))), "no array can have"),
        (gguf(tensor("w", (2**64 - 1,))), "no array can have"),
        (gguf(tensor("w", (1,) * 33)), "33 dimensions"),
        (gguf(tensor("w", (31,), 2)), "does not fill blocks of 32"),
        (gguf(tensor("w", (), 2)), "does not fill blocks of 32"),
        (gguf(tensor("w", (256,), 16)), "in the format IQ2_XXS, which is not read"),
        (gguf(tensor("w", (256,), 999)), "in the format 999, which is not read"),
    ],
)
def test_a_damaged_or_hostile_file_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message) as caught:
        load_arrays(written(tmp_path / "bad.gguf", raw))
    assert "bad.gguf" in str(caught.value) or "at byte" in str(caught.value)


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    raw = gguf(tensor("w", (2, 2)), pairs=(pair("a", 8, text("b")),), data=bytes(16))
    for length in range(4, len(raw)):
        with pytest.raises(az.CheckpointError, match="cut"):
            load_arrays(written(tmp_path / "cut", raw[:length]))


@given(data=st.data())
@settings(max_examples=80)
def test_a_mutated_file_is_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path: Any = tmp_path_factory.mktemp("fuzz") / "a.gguf"
    raw = bytearray((FORMATS / "gguf.gguf").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(4, 1200))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(az.CheckpointError):
        load_arrays(written(path, bytes(raw)))
