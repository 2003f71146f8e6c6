"""The safetensors format: what is written, what is read, and what is refused."""

import json
import struct
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

import ansatz as az
from ansatz.checkpoint import writing
from ansatz.checkpoint.safetensors import DTYPES, read_header, write

FIXTURES = Path(__file__).parent / "fixtures"

# As they came out of PyTorch 2.13, see fixtures/make_torch_files.py.
TORCH = {
    "bfloat16": (jnp.bfloat16, np.arange(6).reshape(2, 3) / 8),
    "float16": (np.float16, np.arange(6).reshape(2, 3) / 8),
    "float8_e4m3fn": (jnp.float8_e4m3fn, np.arange(6).reshape(2, 3)),
    "float8_e5m2": (jnp.float8_e5m2, np.arange(4)),
    "float64": (np.float64, np.arange(3) / 3),
    "int64": (np.int64, np.array(-(2**40))),
    "uint8": (np.uint8, np.arange(3)),
    "bool": (np.bool_, np.array([True, False, True])),
    "complex64": (np.complex64, np.array([0, 1 - 1j])),
    "empty": (np.float32, np.zeros((0, 3))),
}


def raw_file(path: Path, header: Any, data: bytes = b"") -> Path:
    """A file with any header, sound or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def field(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def read_all(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    contents = read_header(path)
    return {name: contents.read(name) for name in contents.entries}


def same(a: np.ndarray[Any, Any], b: Any) -> bool:
    b = np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# -- what was written comes back ------------------------------------------------------------------


def arrays() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Arrays of any bits, dtype and layout that the format has."""

    def of(dtype: np.dtype[Any]) -> st.SearchStrategy[np.ndarray[Any, Any]]:
        shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
        if dtype == np.bool_:
            return hnp.arrays(dtype, shapes)
        return shapes.flatmap(
            lambda shape: st.binary(
                min_size=int(np.prod(shape)) * dtype.itemsize,
                max_size=int(np.prod(shape)) * dtype.itemsize,
            ).map(lambda raw: np.frombuffer(raw, dtype).reshape(shape))
        )

    contiguous = st.sampled_from(list(DTYPES.values())).flatmap(of)
    layouts = st.sampled_from(
        [
            lambda a: a,
            lambda a: a.T,
            lambda a: np.asarray(a, order="F"),
            lambda a: a[::-1] if a.ndim else a,
            lambda a: a[..., ::2] if a.ndim else a,
        ]
    )
    return st.builds(lambda layout, array: layout(array), layouts, contiguous)


names = st.text(max_size=8).filter(lambda name: "\0" not in name and name != "__metadata__")
names = names.filter(lambda name: not any("\ud800" <= c <= "\udfff" for c in name))


@given(held=st.dictionaries(names, arrays(), max_size=4))
def test_every_array_comes_back_bit_for_bit_whatever_its_layout(
    held: dict[str, np.ndarray[Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round") / "trip.safetensors"
    write(path, held)
    loaded = read_all(path)
    assert set(loaded) == set(held)
    assert all(same(loaded[name], array) for name, array in held.items())
    assert all(array.flags.c_contiguous for array in loaded.values())


def test_the_formats_own_reader_reads_what_is_written(tmp_path: Path) -> None:
    # Transposed: the case that the NumPy writer of safetensors 0.8 stores wrongly.
    held = {"f": np.arange(6.0).reshape(2, 3).T, "j": jnp.arange(6).reshape(2, 3).T}
    held |= {"bf16": jnp.arange(3, dtype=jnp.bfloat16), "0-d": np.array(True)}
    write(tmp_path / "a.safetensors", held, {"by": "test"})
    loaded = load_file(tmp_path / "a.safetensors")
    assert loaded["f"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert all(same(loaded[name], np.asarray(array, order="C")) for name, array in held.items())


def test_a_big_endian_array_is_stored_little_endian(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", {"x": np.array([1.0, 2.0], ">f4")})
    assert load_file(tmp_path / "a.safetensors")["x"].tolist() == [1, 2]


def test_files_of_pytorch_are_read_in_every_dtype() -> None:
    loaded = read_all(FIXTURES / "torch_dtypes.safetensors")
    assert loaded.keys() == TORCH.keys()
    for name, (dtype, values) in TORCH.items():
        assert loaded[name].dtype == dtype
        np.testing.assert_array_equal(loaded[name], values.astype(dtype))


def test_equal_contents_give_equal_bytes_in_any_order(tmp_path: Path) -> None:
    held = {"b": np.ones(3, "float32"), "a": np.ones(1, "int8"), "c": np.ones(2, "float64")}
    metadata = {f"key {i}": str(i) for i in range(20)}
    write(tmp_path / "one", held, metadata)
    write(tmp_path / "two", dict(reversed(held.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_every_array_is_aligned_to_its_items(tmp_path: Path) -> None:
    write(tmp_path / "a", {"a": np.ones(3, "int8"), "b": np.ones(1, "float64"), "c": np.True_})
    for entry in read_header(tmp_path / "a").entries.values():
        assert entry.offset % entry.dtype.itemsize == 0


def test_what_was_read_is_not_tied_to_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a", {"x": np.zeros(1000)})
    loaded = read_all(tmp_path / "a")["x"]
    (tmp_path / "a").write_bytes(b"\xff" * 9000)
    assert loaded.sum() == 0
    loaded[0] = 1


# -- what cannot be written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("x", np.ones(2, "complex128"), r"'x' has dtype complex128"),
        ("x", np.array(["a"]), r"'x' has dtype <U1"),
        ("x", np.ones(2, jnp.int4), r"'x' has dtype int4"),
        ("__metadata__", np.ones(2), r"called '__metadata__'"),
        ("a\0b", np.ones(2), r"cannot hold an array called 'a\\x00b'"),
        ("\ud800", np.ones(2), r"not valid Unicode"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_the_old_file_stays(
    tmp_path: Path, name: str, array: Any, message: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(az.CheckpointError, match=message):
        write(path, {name: array})
    assert path.read_bytes() == b"old"


def test_metadata_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'step': 3"):
        write(tmp_path / "a", {}, {"step": 3})  # type: ignore[dict-item]


def test_a_disk_that_returns_other_bytes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    real, calls = writing.bytes_of, []

    def second_time_different(array: Any) -> Any:
        calls.append(array)
        return real(array) if len(calls) == 1 else real(array + 1)

    monkeypatch.setattr(writing, "bytes_of", second_time_different)
    with pytest.raises(az.CheckpointError, match="faulty"):
        write(path, {"x": np.ones(3)}, verify=lambda place: None)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


# -- what is refused on reading -------------------------------------------------------------------


@given(data=st.data())
def test_a_file_cut_off_anywhere_is_refused_with_its_name(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "cut.safetensors"
    write(path, {"weight": np.ones((3, 2)), "bias": np.ones(3, "float32")}, {"by": "test"})
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:kept])
    with pytest.raises(az.CheckpointError, match=r"cut\.safetensors") as caught:
        read_header(path)
    assert ("is empty" if kept == 0 else str(kept)) in str(caught.value)


@given(noise=st.binary(max_size=200))
def test_noise_is_refused_with_the_name_of_the_file(
    noise: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "noise.safetensors"
    path.write_bytes(noise)
    with pytest.raises(az.CheckpointError, match=r"noise\.safetensors"):
        read_header(path)


def test_a_cut_names_the_first_array_that_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, {"first": np.ones(2), "second": np.ones(2)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(az.CheckpointError, match=r"the array 'second' should end at byte \d+"):
        read_header(path)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (
            b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"0",
            "the name 'x' twice",
        ),
        ({"x": field("U8", [1] * 33, 0, 1)}, b"0", "'x' in .* has 33 dimensions"),
        ({"x": field("F4", [2], 0, 1)}, b"0", "'x' in .* has the dtype F4"),
        ({"a\0b": field("U8", [1], 0, 1)}, b"0", "cannot contain NUL"),
        ({"x": field("F32", [2], 0, 4)}, b"0000", "not a sound safetensors file"),
        ({"x": field("F32", [2**62, 8], 0, 4)}, b"0000", "not a sound safetensors file"),
        ({"x": field("U8", [1], 0, 1)}, b"00", "not a sound safetensors file"),
        ({"x": field("C128", [1], 0, 16)}, b"0" * 16, "C128"),
        (b"{" * 5000, b"", "not a sound safetensors file"),
    ],
)
def test_a_damaged_or_hostile_header_is_refused(
    tmp_path: Path, header: Any, data: bytes, message: str
) -> None:
    path = raw_file(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(az.CheckpointError, match=message) as caught:
        read_header(path)
    assert "bad.safetensors" in str(caught.value)


def test_truth_values_other_than_0_and_1_are_refused(tmp_path: Path) -> None:
    path = raw_file(tmp_path / "a", {"x": field("BOOL", [2], 0, 2)}, b"\x01\x02")
    with pytest.raises(az.CheckpointError, match=r"'x' in .* neither 0 nor 1"):
        read_header(path).read("x")


def test_a_file_that_was_replaced_since_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, {"x": np.zeros(3)})
    contents = read_header(path)
    write(path, {"x": np.zeros(3)})
    with pytest.raises(az.CheckpointError, match="has changed since it was opened"):
        contents.read("x")


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(az.CheckpointError, match="it is a pickle"):
        read_header(path)


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(az.CheckpointError, match="is a folder"):
        read_header(tmp_path)


def test_a_file_that_does_not_exist_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "absent")
