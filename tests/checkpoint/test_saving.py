"""What is written for a network, and what is refused."""

import json
import os
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import load_arrays, save


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def tied_net(*, transpose: bool = False) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    az.tie(net, "0.weight", "1.weight", transpose=transpose)
    return net


class WithStates(nn.Module):
    """A parameter, a running statistic, a random stream."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = az.Parameter((2,))
        self.mean = az.State(shape=(2,))
        self.stream = az.RandomStream()


def test_a_tied_parameter_is_written_once_and_all_its_names_are_told(tmp_path: Path) -> None:
    tied_net().save(tmp_path / "a.safetensors")
    assert set(load_file(tmp_path / "a.safetensors")) == {"0.weight", "0.bias", "1.bias"}
    told = metadata_of(tmp_path / "a.safetensors")
    assert told["1.weight"] == "0.weight"
    assert json.loads(told["ansatz.ties"]) == {
        "0.weight": [{"name": "1.weight", "transposed": False}]
    }


def test_a_transposed_tie_is_not_told_to_readers_who_know_nothing_of_it(tmp_path: Path) -> None:
    tied_net(transpose=True).save(tmp_path / "a.safetensors")
    told = metadata_of(tmp_path / "a.safetensors")
    assert "1.weight" not in told
    assert json.loads(told["ansatz.ties"])["0.weight"][0]["transposed"] is True


def test_every_name_can_have_bytes_of_its_own(tmp_path: Path) -> None:
    net = tied_net(transpose=True)
    net.save(tmp_path / "a.safetensors", aliases=True)
    loaded = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded["1.weight"], loaded["0.weight"].T)
    np.testing.assert_array_equal(loaded["0.weight"], net[0].weight.value)


def test_states_and_random_streams_are_saved(tmp_path: Path) -> None:
    net = WithStates()
    net.stream.next_key()
    net.save(tmp_path / "a.safetensors")
    loaded = load_file(tmp_path / "a.safetensors")
    assert set(loaded) == {"weight", "mean", "stream"}
    np.testing.assert_array_equal(loaded["stream"], net.stream.value)


def test_what_was_never_drawn_is_drawn_as_a_call_would_have(tmp_path: Path) -> None:
    az.seed(3)
    saved = nn.Sequential(nn.Linear(3, 2))
    saved.save(tmp_path / "a.safetensors")
    az.seed(3)
    called = nn.Sequential(nn.Linear(3, 2))
    called(jnp.ones((1, 3)))
    loaded = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded["0.weight"], called[0].weight.value)


def test_every_parameter_of_unknown_shape_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Dense(3), nn.Linear(3, 3), nn.Dense(2))
    with pytest.raises(az.DeferredInitializationError, match=r"'0\.weight', '2\.weight'"):
        net.save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
    assert not net[1].weight.has_value


def test_the_advice_for_unknown_shapes_works(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dense(2))
    net.save(tmp_path / "a.safetensors", select=lambda path, cell: not cell.is_deferred)
    assert set(load_file(tmp_path / "a.safetensors")) == {"0.weight", "0.bias", "1.bias"}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("*.bias", {"0.bias", "1.bias"}),
        (re.compile(r"^0\."), {"0.weight", "0.bias"}),
        # A tied parameter is picked by any of its names.
        ("1.*", {"0.weight", "1.bias"}),
        (nn.Linear, {"0.weight", "0.bias", "1.bias"}),
        (lambda path, _: path.endswith("0.bias"), {"0.bias"}),
    ],
)
def test_a_selection_is_saved(tmp_path: Path, select: Any, expected: set[str]) -> None:
    tied_net().save(tmp_path / "a.safetensors", select=select)
    assert set(load_file(tmp_path / "a.safetensors")) == expected


def test_the_selection_of_collect_params_is_saved(tmp_path: Path) -> None:
    tied_net().collect_params("*.bias").save(tmp_path / "a.safetensors")
    assert set(load_arrays(tmp_path / "a.safetensors")) == {"0.bias", "1.bias"}


def test_a_selector_that_picks_nothing_is_refused_with_a_near_name(tmp_path: Path) -> None:
    with pytest.raises(az.CheckpointError, match=r"'0\.wieght'.*did you mean '0\.weight'"):
        tied_net().save(tmp_path / "a.safetensors", select="0.wieght")


def test_metadata_of_ones_own_are_kept(tmp_path: Path) -> None:
    tied_net().save(tmp_path / "a.safetensors", metadata={"epoch": "7"})
    assert metadata_of(tmp_path / "a.safetensors")["epoch"] == "7"


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".orbax"])
def test_metadata_that_are_no_text_are_refused_by_every_format(tmp_path: Path, suffix: str) -> None:
    net = nn.Linear(2, 2)
    for metadata in ({"epoch": 1}, {1: "one"}):
        with pytest.raises(TypeError, match="metadata is text by name"):
            net.save(tmp_path / f"net{suffix}", metadata=metadata)  # type: ignore[dict-item]
    with pytest.raises(az.CheckpointError, match="not valid Unicode"):
        net.save(tmp_path / f"net{suffix}", metadata={"author": "\ud800"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["ansatz.ties", "ansatz.format", "1.weight"])
def test_metadata_that_would_lie_about_ties_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(az.CheckpointError, match=re.escape(repr(key))):
        tied_net().save(tmp_path / "a.safetensors", metadata={key: "0.bias"})


@pytest.mark.parametrize("suffix", [".gguf", ".pt", ".keras", ".PTH"])
def test_the_suffix_of_a_format_that_is_only_read_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(az.CheckpointError, match=r"use \.safetensors"):
        nn.Linear(2, 2).save(tmp_path / f"net{suffix}")


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        net = tied_net()
        net.initialize(seed=1)
        net.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_fault_in_the_middle_of_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    first = nn.Linear(3, 3)
    first.save(path)
    old = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        nn.Linear(3, 3).save(path)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_error_for_a_dtype_names_the_parameter(tmp_path: Path) -> None:
    net = nn.Module()
    net.codes = az.State(jnp.zeros(2, "int4"))
    with pytest.raises(az.CheckpointError, match="'codes' has dtype int4"):
        net.save(tmp_path / "a.safetensors")


def test_saving_inside_a_transformation_is_refused(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)

    @az.jit
    def step(x: jax.Array) -> jax.Array:
        save(net, tmp_path / "a.safetensors")
        return net(x)

    with pytest.raises(az.TraceError, match="save it afterwards"):
        step(jnp.ones((1, 2)))
    assert list(tmp_path.iterdir()) == []


def test_saving_hands_out_no_array_so_training_goes_on_without_copies(tmp_path: Path) -> None:
    net = nn.Linear(256, 256)

    @az.jit
    def step() -> None:
        net.weight.value = net.weight.value * 0.5

    step()
    step()
    before = net.weight.materialize().unsafe_buffer_pointer()
    net.save(tmp_path / "a.safetensors")
    step()
    assert net.weight.materialize().unsafe_buffer_pointer() == before


def test_low_precision_parameters_are_saved_in_their_own_dtype(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    net.collect_params().cast("bfloat16")
    net.save(tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors")["weight"].dtype == jnp.bfloat16


def test_a_layer_that_sees_a_shared_weight_transposed_is_saved_as_it_is_seen(
    tmp_path: Path,
) -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    net[1].save(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(
        load_file(tmp_path / "head.safetensors")["weight"], net[1].weight.value
    )
    nn.Linear(5, 3).load(tmp_path / "head.safetensors")
    values = net[0].weight.value
    net[1].load(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(net[0].weight.value, values)
