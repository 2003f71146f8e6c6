"""Loading: what comes back, what is refused, and that a refusal changes nothing."""

import io
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import ansatz as az
from ansatz import init, nn
from ansatz.checkpoint import load_state_dict, plan_load, save_arrays

FIXTURES = Path(__file__).parent / "fixtures"


class NeverDrawn(init.Initializer):
    """Loading must not draw what it is about to replace."""

    def draw(self, rng: np.random.Generator, spec: init.Spec) -> Any:
        raise AssertionError(f"'{spec.path}' was drawn")


def undrawable(units: int, **options: Any) -> nn.Dense:
    return nn.Dense(units, weight_init=NeverDrawn(), bias_init=NeverDrawn(), **options)


class Bag(nn.Module):
    """Parameters under names of one's own, some of them under several."""

    def __init__(self, arrays: dict[str, Any], ties: dict[str, str]) -> None:
        super().__init__()
        self.held = {name: az.Parameter(array) for name, array in arrays.items()}
        for name, other in ties.items():
            self.held[name] = self.held[other]


def snapshot(net: nn.Module) -> dict[str, Any]:
    """What must not change: values, shapes and origins."""
    return {
        path: (
            np.array(cell.materialize()) if cell.has_value else None,
            cell.shape,
            cell.origin,
        )
        for path, cell in [*net.named_parameters(), *net.named_states()]
    }


def assert_unchanged(net: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(net)
    assert after.keys() == before.keys()
    for path, (value, *rest) in before.items():
        assert after[path][1:] == tuple(rest)
        np.testing.assert_array_equal(after[path][0], value)


# -- what was saved comes back --------------------------------------------------------------------

PARAMETER_DTYPES = ["float32", "float16", "int32", "uint8", "bool", "bfloat16"]


def of_dtype(name: str) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    drawn = "float32" if name == "bfloat16" else name
    shapes = hnp.array_shapes(min_dims=0, max_side=3)
    return hnp.arrays(drawn, shapes).map(lambda array: array.astype(jnp.dtype(name)))


parameter_arrays = st.sampled_from(PARAMETER_DTYPES).flatmap(of_dtype)


@given(data=st.data())
def test_a_saved_network_comes_back_bit_for_bit_with_its_ties(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    arrays = data.draw(
        st.dictionaries(st.sampled_from("abcdef"), parameter_arrays, min_size=1, max_size=4)
    )
    ties = data.draw(
        st.dictionaries(st.sampled_from("uvwxyz"), st.sampled_from(sorted(arrays)), max_size=3)
    )
    path = tmp_path_factory.mktemp("round") / "trip.safetensors"
    Bag(arrays, ties).save(path)
    fresh = Bag({name: np.zeros_like(array) for name, array in arrays.items()}, ties)
    report = fresh.load(path)
    assert not report.faults
    for name, array in arrays.items():
        loaded = np.asarray(fresh.held[name].value)
        assert loaded.dtype == array.dtype
        assert loaded.tobytes() == array.tobytes()
    for name, other in ties.items():
        assert fresh.held[name] is fresh.held[other]


def test_a_network_without_shapes_is_settled_from_the_file_and_draws_nothing(
    tmp_path: Path,
) -> None:
    trained = nn.Sequential(nn.Dense(256, activation="relu"), nn.Dense(10))
    x = jax.random.normal(jax.random.key(0), (2, 20))
    expected = trained(x)
    trained.save(tmp_path / "net.safetensors")
    fresh = nn.Sequential(undrawable(256, activation="relu"), undrawable(10))
    report = fresh.load(tmp_path / "net.safetensors")
    assert report.paths("settled") == ["0.weight", "1.weight"]
    assert [p.shape for p in fresh.parameters()] == [(256, 20), (256,), (10, 256), (10,)]
    assert (fresh[0].units, fresh[0].in_units) == (256, 20)
    assert bool((fresh(x) == expected).all())
    assert bool((az.jit(fresh)(x) == az.jit(trained)(x)).all())


def test_states_come_back_and_random_streams_go_on(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm(3), nn.Dropout(0.5))
    net(jnp.ones((4, 3)))
    net.save(tmp_path / "net.safetensors")
    expected = net(jnp.ones((4, 3)))
    again = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm(3), nn.Dropout(0.5))
    again.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again(jnp.ones((4, 3))), expected)


def test_a_random_stream_may_be_missing() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    report = net.load_state_dict({"0.weight": np.ones((2, 2), "f4"), "0.bias": np.ones(2, "f4")})
    assert len(report.paths("optional")) == 1
    assert not report.missing_keys


def test_the_origin_says_from_where_a_value_came(tmp_path: Path) -> None:
    nn.Linear(2, 2).save(tmp_path / "net.safetensors")
    net = nn.Sequential(nn.Linear(2, 2))
    net.load(tmp_path / "net.safetensors", rename=lambda name: "0." + name)
    assert net[0].weight.origin == az.Origin("loaded", "from net.safetensors as 'weight'")
    net.load_state_dict(net.state_dict())
    assert str(net[0].bias.origin) == "loaded from a state dict as '0.bias'"


def test_a_file_of_pytorch_is_loaded() -> None:
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    net.load(FIXTURES / "torch_mlp.safetensors")
    assert net[0].weight.value.tolist() == np.arange(12).reshape(4, 3).tolist()
    assert net[0].bias.value.tolist() == [0, 0.25, 0.5, 0.75]
    assert net[1].weight.value.tolist() == np.arange(8).reshape(4, 2).T.tolist()
    assert net[1].bias.value.tolist() == [0, -1]


def test_a_loaded_value_may_be_donated_and_edited(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    net.weight.data[:] = 1.0
    net.save(tmp_path / "net.safetensors")
    net.load(tmp_path / "net.safetensors")

    @az.jit
    def step() -> None:
        net.weight.value = net.weight.value + 1

    step()
    step()
    net.weight.data[0, 0] = 42
    assert net.weight.value.tolist() == [[42, 3], [3, 3]]
    net.load(tmp_path / "net.safetensors")
    assert net.weight.value.tolist() == [[1, 1], [1, 1]]


def test_a_value_goes_where_the_one_before_it_was_placed(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    net.save(tmp_path / "net.safetensors")
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    placed = NamedSharding(mesh, PartitionSpec("data"))
    net.weight.value = jax.device_put(net.weight.value, placed)
    net.load(tmp_path / "net.safetensors")
    assert net.weight.value.sharding == placed


def test_the_gradient_of_the_value_before_is_forgotten() -> None:
    net = nn.Linear(2, 1)
    az.backward(lambda net, x: net(x).sum(), net, jnp.ones((1, 2)))
    net.load_state_dict(net.state_dict())
    assert net.weight.grad is not None
    assert net.weight.grad.tolist() == [[0, 0]]


# -- state dicts ----------------------------------------------------------------------------------


def test_a_numpy_array_of_the_callers_may_change_afterwards() -> None:
    # XLA's CPU client adopts a buffer that is aligned to 64 bytes instead of copying it.
    raw = np.zeros(128, "uint8")
    start = -raw.ctypes.data % 64
    mine = raw[start : start + 16].view("float32").reshape(2, 2)
    mine[:] = 1
    net = nn.Linear(2, 2, bias=False)
    net.load_state_dict({"weight": mine})
    mine[:] = 7
    assert net.weight.value.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("placed", [False, True])
def test_a_jax_array_of_the_callers_survives_training(placed: bool) -> None:
    mine = jnp.ones((2, 2))
    net = nn.Linear(2, 2, bias=False)
    if placed:
        net.weight.value = jax.device_put(net.weight.value, jax.devices()[0])
    net.load_state_dict({"weight": mine})

    @az.jit
    def step() -> None:
        net.weight.value = net.weight.value + 1

    step()
    assert mine.tolist() == [[1, 1], [1, 1]]


def test_numbers_and_lists_take_the_dtype_of_their_parameter() -> None:
    net = nn.Linear(2, 1)
    net.load_state_dict({"weight": [[1, 2]], "bias": [0.5]})
    assert net.weight.dtype == net.weight.value.dtype == jnp.float32
    assert net(jnp.ones((1, 2))).tolist() == [[3.5]]


def test_parameters_of_another_network_are_copied_not_tied() -> None:
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    target.load_state_dict(dict(source.named_parameters()))
    source.weight.data[:] = 0.0
    assert bool((target.weight.value != 0).any())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": object()}, "'weight' is <object object at .* of type object"),
        ({"weight": "text"}, "'weight' is 'text' of type str"),
        ({3: np.ones(2)}, "a name in a state dict is text, got 3"),
    ],
)
def test_a_state_dict_of_other_things_is_refused(state: Any, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        nn.Linear(2, 2).load_state_dict(state)


def test_a_path_in_the_place_of_a_mapping_is_explained() -> None:
    with pytest.raises(TypeError, match=r"a mapping from names to arrays.*got a list of 1"):
        load_state_dict(nn.Linear(2, 2), [("weight", np.ones(2))])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "the path of a file is wanted, .* or a mapping .*; got None"),
        (123, "got 123 of type int"),
        (nn.Linear(2, 2), r"of type Linear; pass its state_dict\(\)"),
        (io.BytesIO(), "pass the path, not an open file"),
    ],
)
def test_what_is_neither_a_file_nor_a_mapping_is_told(source: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        nn.Linear(2, 2).load(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map_location": "cpu"}, "values go where those that they replace are"),
        ({"allow_missing": True}, "strict=False leaves what is missing as it is"),
        ({"stirct": False}, "did you mean 'strict'?"),
        ({"rename": 3}, "rename is a mapping, a function, a Rule or a list of these, got int"),
    ],
)
def test_an_option_that_load_does_not_take_is_told(options: Any, message: str) -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError) as caught:
        layer.load(layer.state_dict(), **options)  # type: ignore[arg-type]
    assert message in str(caught.value)


# -- faults ---------------------------------------------------------------------------------------


def faulty_state() -> dict[str, Any]:
    """One fault of every kind, for the network below."""
    return {
        "0.weight": np.ones((4, 5), "float32"),
        "0.bias": np.ones(4, "float64"),
        "1.wieght": np.ones((2, 4), "float32"),
        "1.bias": np.ones(2, "float32"),
        "2.weight": np.ones((2, 2), "float32"),
        "3.weight": np.full((2, 2), 1.5, "float32"),
    }


def faulty_net() -> nn.Sequential:
    net = nn.Sequential(
        nn.Linear(3, 4), nn.Linear(4, 2), *(nn.Linear(2, 2, bias=False) for _ in range(2))
    )
    az.tie(net, "2.weight", "3.weight")
    return net


EXPECTED = [
    r"shape +'0\.weight': \(4, 5\) in the file, \(4, 3\) in the network",
    r"dtype +'0\.bias': float64 in the file, float32 in the network; pass cast=True",
    r"missing +'1\.weight': did you mean '1\.wieght'",
    r"unexpected +'1\.wieght': did you mean '1\.weight'",
    r"tie conflict +'2\.weight': '2\.weight' and '3\.weight' are one .* differ by up to 0\.5",
]


@pytest.mark.parametrize("initialised", [True, False])
@pytest.mark.parametrize("from_file", [True, False])
def test_one_error_names_every_fault_and_nothing_has_changed(
    tmp_path: Path, from_file: bool, initialised: bool
) -> None:
    net = faulty_net()
    if initialised:
        net.initialize()
    before = snapshot(net)
    path = tmp_path / "faulty.safetensors"
    save_arrays(path, faulty_state())
    with pytest.raises(az.CheckpointError) as caught:
        net.load(path) if from_file else net.load_state_dict(faulty_state())
    message = str(caught.value)
    name = r"faulty\.safetensors" if from_file else "the state dict"
    for pattern in [name, "Sequential; nothing was loaded", *EXPECTED]:
        assert re.search(pattern, message), pattern
    assert "1.bias" not in message
    assert_unchanged(net, before)


def test_a_missing_tied_parameter_is_reported_once_with_all_its_names() -> None:
    net = faulty_net()
    state = {p: v for p, v in net.state_dict().items() if p != "2.weight"}
    with pytest.raises(az.CheckpointError, match=r"missing  '2\.weight': also called '3\.weight'"):
        net.load_state_dict(state)


def test_a_wrong_shape_is_never_broadcast() -> None:
    with pytest.raises(az.CheckpointError, match=r"\(1, 2\) in the file, \(2, 2\)"):
        nn.Linear(2, 2, bias=False).load_state_dict({"weight": np.ones((1, 2), "f4")})


def test_known_dimensions_of_a_deferred_parameter_are_checked() -> None:
    net = nn.Dense(3, use_bias=False)
    with pytest.raises(az.CheckpointError, match=r"\(4, 5\) in the file, \(3, None\)"):
        net.load_state_dict({"weight": np.ones((4, 5), "f4")})
    assert net.weight.shape == (3, None)


def test_a_prefix_that_all_names_have_is_named_and_the_advice_works() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    state = {f"module.{path}": value for path, value in net.state_dict().items()}
    with pytest.raises(az.CheckpointError, match=r"prefix 'module\.' too much") as caught:
        net.load_state_dict(state)
    headline, hint, *_ = str(caught.value).splitlines()
    assert headline.endswith("nothing was loaded: 4 missing, 4 unexpected")
    rename = eval(hint.rpartition("rename=")[2])
    net.load_state_dict(state, rename=rename)


def test_a_fault_while_reading_values_changes_nothing(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net.save(tmp_path / "net.safetensors")
    net.initialize("ones", force_reinit=True)
    before = snapshot(net)
    plan = plan_load(net, tmp_path / "net.safetensors")
    path = tmp_path / "net.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(az.CheckpointError, match="has changed"):
        plan.commit()
    assert_unchanged(net, before)


def test_a_fault_on_the_way_to_the_device_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net.save(tmp_path / "net.safetensors")
    net.initialize("ones", force_reinit=True)
    before = snapshot(net)

    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(jax, "device_put", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        net.load(tmp_path / "net.safetensors")
    monkeypatch.undo()
    assert_unchanged(net, before)


# -- options --------------------------------------------------------------------------------------


def test_without_strictness_missing_and_unexpected_names_are_skipped_and_reported() -> None:
    net = nn.Linear(2, 2)
    net.initialize("ones")
    before = snapshot(net)
    report = net.load_state_dict(
        {"weight": np.full((2, 2), 3, "f4"), "zzz": np.ones(1)}, strict=False
    )
    assert report.missing_keys == ["bias"]
    assert report.unexpected_keys == ["zzz"]
    assert net.weight.value.tolist() == [[3, 3], [3, 3]]
    np.testing.assert_array_equal(net.bias.value, before["bias"][0])


@pytest.mark.parametrize("weight", [np.ones((3, 2), "f4"), np.ones((2, 2), "f8")])
def test_without_strictness_shapes_and_dtypes_are_refused_all_the_same(weight: Any) -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(az.CheckpointError, match="'weight'"):
        net.load_state_dict({"weight": weight}, strict=False)


def test_a_load_that_would_load_nothing_at_all_is_refused_even_without_strictness() -> None:
    net = nn.Linear(2, 2)
    state = {f"model.{path}": value for path, value in net.state_dict().items()}
    with pytest.raises(az.CheckpointError, match=r"prefix 'model\.' too much"):
        net.load_state_dict(state, strict=False)


def test_a_selection_is_loaded_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net.save(tmp_path / "net.safetensors")
    other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    other.initialize()
    kept = other[1].weight.value
    report = other.load(tmp_path / "net.safetensors", select="0.*")
    np.testing.assert_array_equal(other[0].weight.value, net[0].weight.value)
    assert other[1].weight.value is kept
    assert set(report.paths("left out")) == {"1.weight", "1.bias"}


def test_what_is_selected_must_be_there(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net.save(tmp_path / "net.safetensors", select="0.*")
    with pytest.raises(az.CheckpointError, match=r"missing  '1\.weight'"):
        net.load(tmp_path / "net.safetensors", select="1.*")


@pytest.mark.parametrize("cast", [True, "float32"])
def test_a_conversion_that_was_allowed_is_made_and_reported(cast: Any) -> None:
    net = nn.Linear(2, 1)
    state = {"weight": np.array([[0.1, 2]], "f8"), "bias": np.array([3], "i4")}
    report = net.load_state_dict(state, cast=cast)
    assert report.paths("cast") == ["weight", "bias"]
    assert net.weight.value.dtype == jnp.float32
    np.testing.assert_array_equal(net.weight.value, np.array([[0.1, 2]], "f4"))


@pytest.mark.parametrize("cast", [True, "float32"])
def test_complex_numbers_are_never_cut_to_real_ones(cast: Any) -> None:
    net = nn.Linear(2, 1, bias=False)
    with pytest.raises(az.CheckpointError, match="never done"):
        net.load_state_dict({"weight": np.ones((1, 2), "c8")}, cast=cast)


def test_a_conversion_that_overflows_is_refused() -> None:
    net = nn.Linear(2, 1, bias=False)
    with pytest.raises(az.CheckpointError, match="1 of 2 values are too large for float32"):
        net.load_state_dict({"weight": np.array([[1e300, 0]])}, cast=True)


def test_nan_is_reported_and_refused_on_request_only() -> None:
    net = nn.Linear(2, 1, bias=False)
    state = {"weight": np.array([[np.nan, np.inf]], "f4")}
    with pytest.raises(az.CheckpointError, match=r"value +'weight': 1 NaN and 1 infinite among 2"):
        net.load_state_dict(state, finite=True)
    report = net.load_state_dict(state)
    assert bool(jnp.isnan(net.weight.value[0, 0]))
    assert "1 NaN and 1 infinite among 2 values" in repr(report)


@pytest.mark.parametrize(
    "rename",
    [{"w": "weight", "b": "bias", "step": None}, lambda n: {"w": "weight", "b": "bias"}.get(n)],
)
def test_names_are_changed_and_left_out_on_request(rename: Any) -> None:
    state = {"w": np.ones((1, 2), "f4"), "b": np.ones(1, "f4"), "step": np.array(3)}
    report = nn.Linear(2, 1).load_state_dict(state, rename=rename)
    assert report.paths("left out") == ["step"]


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"zzz": "weight"}, "rename speaks of 'zzz'.*it holds 'weight', 'bias'"),
        ({"bias": "weight"}, "'weight' and 'bias' .* both renamed to 'weight'"),
    ],
)
def test_a_renaming_that_does_not_fit_is_refused(rename: Any, message: str) -> None:
    net = nn.Linear(2, 1)
    with pytest.raises(az.CheckpointError, match=message):
        net.load_state_dict(net.state_dict(), rename=rename)


def test_loading_inside_a_transformation_is_refused(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    net.save(tmp_path / "net.safetensors")

    @az.jit
    def step(x: jax.Array) -> jax.Array:
        net.load(tmp_path / "net.safetensors")
        return net(x)

    with pytest.raises(az.TraceError, match="load it before"):
        step(jnp.ones((1, 2)))


def test_a_state_dict_of_tracers_is_refused() -> None:
    net = nn.Linear(2, 1, bias=False)

    def loss(weight: jax.Array) -> jax.Array:
        net.load_state_dict({"weight": weight})
        return weight.sum()

    with pytest.raises(az.TraceError, match="functional_call"):
        jax.grad(loss)(jnp.ones((1, 2)))


def test_a_counter_of_64_bits_is_loaded_if_it_fits() -> None:
    net = nn.BatchNorm(2, use_weight=False, use_bias=False)
    state = {**net.state_dict(), "num_batches_tracked": np.array(7, np.int64)}
    net.load_state_dict(state)
    assert int(net.num_batches_tracked.value) == 7
    with pytest.raises(az.CheckpointError, match="too large for int32"):
        net.load_state_dict({**state, "num_batches_tracked": np.array(2**40)})
    assert int(net.num_batches_tracked.value) == 7
