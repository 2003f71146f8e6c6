"""Dicts and lists of arrays keep their kind, their order and their keys."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ansatz as az
from ansatz.checkpoint import load_arrays, safetensors, save_arrays

FIXTURES = Path(__file__).parent / "fixtures"
DTYPES = ["float32", "float64", "int64", "uint8", "bool", "complex64"]

one_array = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_side=3))
)
keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
keys = keys.filter(lambda key: key != "__metadata__")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@given(
    held=st.one_of(
        one_array,
        st.lists(one_array, max_size=12),
        st.lists(one_array, max_size=3).map(tuple),
        st.dictionaries(keys, one_array, max_size=4),
    )
)
def test_kind_order_keys_and_bits_come_back(
    held: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "arrays.safetensors"
    save_arrays(path, held)
    assert same(load_arrays(path), held)


def test_arrays_of_jax_parameters_and_numbers_are_arrays(tmp_path: Path) -> None:
    held = {"jax": jnp.ones(2), "parameter": az.Parameter(jnp.zeros(1)), "number": 1.5}
    save_arrays(tmp_path / "a.safetensors", held)
    loaded = load_arrays(tmp_path / "a.safetensors")
    assert [array.tolist() for array in loaded.values()] == [[1, 1], [0], 1.5]


def test_the_file_of_a_network_is_a_dict(tmp_path: Path) -> None:
    az.nn.Linear(2, 3).save(tmp_path / "net.safetensors")
    loaded = load_arrays(tmp_path / "net.safetensors")
    assert {name: array.shape for name, array in loaded.items()} == {"weight": (3, 2), "bias": (3,)}


def test_a_file_of_another_program_is_a_dict() -> None:
    assert load_arrays(FIXTURES / "torch_mlp.safetensors")["1.bias"].tolist() == [0, -1]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({1: np.ones(2)}, "the names of arrays are text, got 1"),
        ({"a": "text"}, "'a' is 'text' of type str"),
        ([np.ones(2), None], "'1' is None"),
    ],
)
def test_what_is_no_array_is_refused(tmp_path: Path, held: Any, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        save_arrays(tmp_path / "a.safetensors", held)
    assert list(tmp_path.iterdir()) == []


def test_a_tracer_is_refused_by_name(tmp_path: Path) -> None:
    def save(x: jax.Array) -> jax.Array:
        save_arrays(tmp_path / "a.safetensors", {"x": x})
        return x

    with pytest.raises(az.CheckpointError, match="'x' is a tracer"):
        jax.jit(save)(jnp.ones(2))


@pytest.mark.parametrize(
    "described",
    ["no json", "[]", '{"kind": "set", "names": ["0"]}', '{"kind": "list", "names": ["1"]}'],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, described: str) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.write(path, {"0": np.ones(2)}, {"ansatz.arrays": described})
    with pytest.raises(az.CheckpointError, match="is damaged"):
        load_arrays(path)


def test_the_order_of_many_items_is_that_of_the_list(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.safetensors", [np.array(i) for i in range(12)])
    assert [int(i) for i in load_arrays(tmp_path / "a.safetensors")] == list(range(12))
    order = safetensors.read_header(tmp_path / "a.safetensors").metadata["ansatz.arrays"]
    assert json.loads(order)["kind"] == "list"


@pytest.mark.parametrize("suffix", [".params", ".msgpack", ".npy"])
def test_a_format_that_cannot_tell_a_list_refuses_it(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(az.CheckpointError, match="cannot tell that this is a list; pass a dict"):
        save_arrays(tmp_path / f"a{suffix}", [np.ones(2)])
    assert list(tmp_path.iterdir()) == []


def deep(levels: int) -> str:
    return ".".join(["0"] * levels)


@pytest.mark.parametrize(
    ("suffix", "held", "message"),
    [
        (".msgpack", [], "no arrays"),
        (".msgpack", ["a" * 65536], "takes 65,536 bytes"),
        (".msgpack", [deep(65)], "nested 65 deep, and 64 is the most"),
        (".msgpack", [deep(5000)], "nested 5,000 deep"),
        (".orbax", [deep(5000)], "nested 5,000 deep"),
        (".orbax", ["a" * 70_000], "takes 70,000 bytes"),
        (".weights.h5", [deep(64)], "nested 64 deep, and 63 is the most"),
        (".npz", ["a" * 65532], "takes 65,532 bytes"),
        *((suffix, ["a\ud800"], "not valid Unicode") for suffix in (".npz", ".msgpack", ".params")),
    ],
    ids=lambda told: str(told)[:20],
)
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, suffix: str, held: list[str], message: str
) -> None:
    arrays = {name: np.ones(2, "float32") for name in held}
    with pytest.raises(az.CheckpointError, match=message) as e:
        save_arrays(tmp_path / f"t{suffix}", arrays)
    assert len(str(e.value)) < 500
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        (".msgpack", "a" * 65535),
        (".msgpack", deep(64)),
        (".orbax", deep(64)),
        (".orbax", "a" * 60_000),
        (".weights.h5", deep(63)),
        (".npz", "a" * 65531),
    ],
    ids=lambda told: told[:20],
)
def test_the_longest_and_deepest_names_are_read_back(
    tmp_path: Path, suffix: str, name: str
) -> None:
    save_arrays(tmp_path / f"t{suffix}", {name: np.ones(2, "float32")})
    assert list(load_arrays(tmp_path / f"t{suffix}")) == [name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t.safetensor", "did you mean '.safetensors'"),
        ("t.msgpck", "did you mean '.msgpack'"),
        ("t.npz.gz", "'.gz' is the ending of no format"),
        ("t.json", "the endings are .safetensors"),
    ],
)
def test_an_ending_of_no_format_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        save_arrays(tmp_path / name, {"w": np.ones(2)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["weights", ".weights", "loss-0.25"])
def test_a_name_without_ending_is_a_file_of_safetensors(tmp_path: Path, name: str) -> None:
    save_arrays(tmp_path / name, {"w": np.ones(2)})
    assert safetensors.read_header(tmp_path / name).format == "safetensors"
