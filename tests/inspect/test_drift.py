"""Which parameters are still at their initial draw."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn
from ansatz.inspect import drift


def made() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    net.initialize(seed=5)
    return net


def test_fresh_parameters_are_at_their_draw() -> None:
    net = made()
    assert [row.initial for row in net.drift()] == [True] * 4
    assert net.drift()["0.weight"].relative == 0
    assert "4 of 4 still at their initial draw, 0 moved" in repr(net.drift())


def test_looking_changes_neither_values_nor_the_global_stream() -> None:
    az.seed(3)
    expected = nn.Linear(2, 2).weight.value
    az.seed(3)
    net = nn.Linear(2, 2)
    assert net.drift()["weight"].origin == "not initialised yet"
    assert not net.weight.has_value
    assert jnp.array_equal(net.weight.value, expected)


def test_how_far_a_parameter_went_is_measured_from_its_draw() -> None:
    net = made()
    draw = np.array(net[0].weight.value)
    moved = draw + np.float32(0.5)
    net[0].weight.value = moved
    row = net.drift()["0.weight"]
    a, b = draw.astype("f8").ravel(), moved.astype("f8").ravel()
    assert row.initial is False
    assert row.largest == pytest.approx(0.5, rel=1e-6)
    assert row.relative == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a))
    assert row.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert row.origin == "edited"
    assert net.drift()["0.bias"].initial


def test_a_training_step_shows_and_what_it_did_not_move_shows_too() -> None:
    net = made()

    @az.jit
    def step() -> None:
        for parameter in net[1].parameters():
            parameter.value = parameter.value - 0.25
        net[0].bias.value = net[0].bias.value * 1  # Written, but not moved.

    step()
    rows = net.drift()
    assert {row.path for row in rows if not row.initial} == {"1.weight", "1.bias"}
    assert rows["1.weight"].largest == pytest.approx(0.25, rel=1e-6)
    assert rows["0.bias"].initial
    assert rows["0.bias"].origin.endswith("then updated")


def test_what_was_loaded_or_given_says_so() -> None:
    net = made()
    net.load_state_dict({"0.bias": np.zeros(4, "f4")}, strict=False)
    net.given = az.Parameter(jnp.ones(2))
    rows = net.drift()
    assert rows["0.bias"].initial is None
    assert rows["0.bias"].origin.startswith("loaded")
    assert rows["given"].origin == "declared with a value"
    assert "2 without one" in repr(rows)


def test_tied_parameters_stand_once_and_copies_remember_their_draw() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    net.initialize(seed=1)
    for each in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [row.path for row in each.drift()] == ["0.weight", "0.bias", "1.bias"]
        assert all(row.initial for row in each.drift())


def test_a_draw_made_from_another_parameter_is_made_from_the_draw_of_that() -> None:
    net = nn.Sequential(nn.Linear(3, 4))
    nn.weight_norm(net, "*.weight")
    net.initialize(seed=2)
    assert all(row.initial for row in net.drift())
    direction = next(path for path in net.collect_params() if path.endswith("original1"))
    net.get_parameter(direction).data[:] *= 3
    assert [row.path for row in net.drift() if not row.initial] == [direction]


def test_a_deferred_draw_is_found_as_well_as_one_by_rule() -> None:
    net = nn.Sequential(nn.Dense(4), nn.Dense(2))
    net.initialize({"*.weight": init.Orthogonal()}, seed=9)
    assert net.drift()["0.weight"].initial is None
    net(jnp.ones((1, 3)))
    assert all(row.initial for row in net.drift())


def test_nan_is_told_as_nan_and_a_selector_picks() -> None:
    net = made()
    net[0].weight.data[0, 0] = jnp.nan
    rows = drift(net, "0.*")
    assert [row.path for row in rows] == ["0.weight", "0.bias"]
    assert np.isnan(rows["0.weight"].largest or 0.0)


def test_a_cast_network_is_compared_in_its_new_dtype() -> None:
    net = made()
    net.collect_params().cast("bfloat16")
    assert all(row.initial for row in net.drift())


def test_a_mistyped_path_is_answered_with_the_nearest() -> None:
    with pytest.raises(az.PathError, match=r"did you mean '0\.weight'"):
        made().drift()["0.wieght"]


def test_in_a_notebook_the_table_is_escaped() -> None:
    class Net(nn.Module):
        def forward(self, x: jax.Array) -> jax.Array:
            return x

    net = Net()
    net.add_module("<script>", nn.Linear(1, 1))
    html = net.drift()._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;.weight" in html


def test_a_tied_parameter_is_found_by_each_name_and_nan_is_told_as_such() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    az.tie(net, "0.weight", "1.weight")
    net.initialize(seed=0)
    net[0].weight.data[0, 0] = np.nan
    told = drift(net)
    assert told["1.weight"] is told["0.weight"]
    assert np.isnan(told["1.weight"].largest or 0.0)
    assert "inf" not in repr(told)
