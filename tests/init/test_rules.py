"""Who decides: the five levels, rules and their report."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn

ONE, TWO, THREE, FOUR = (init.Constant(i) for i in (1, 2, 3, 4))


class Layer(nn.Module):
    """One parameter per way to declare it."""

    def __init__(self, units=None):
        super().__init__()
        self.open = az.Parameter((2, units))
        self.chosen = az.Parameter((2, units), init=THREE)
        self.fixed = az.Parameter((2, units), fallback=FOUR)

    def infer_shape(self, x):
        for parameter in (self.open, self.chosen, self.fixed):
            parameter.shape = (2, x.shape[-1])

    def forward(self, x):
        return x @ (self.open.value + self.chosen.value + self.fixed.value).T


def constants(net):
    return {path: float(p.value.reshape(-1)[0]) for path, p in net.named_parameters()}


@pytest.mark.parametrize("units", [3, None])
def test_the_five_levels_decide_from_strong_to_weak(units):
    def settled(net):
        if units is None:
            net(jnp.ones((1, 3)))
        return constants(net)

    net = Layer(units)
    net.initialize()
    assert settled(net)["fixed"] == 4  # 5. the fallback
    net = Layer(units)
    net.initialize(ONE)
    assert settled(net) == {"open": 1, "chosen": 3, "fixed": 1}  # 4. the default, 3. the layer
    net = Layer(units)
    net.initialize({"chosen": TWO, "*": ONE})
    assert settled(net) == {"open": 1, "chosen": 2, "fixed": 1}  # 2. a rule
    net = Layer(units)
    net.initialize({"*": ONE})
    net.chosen.initialize(TWO, force_reinit=True)
    assert settled(net) == {"open": 1, "chosen": 2, "fixed": 1}  # 1. the parameter itself


def test_force_reinit_goes_back_to_what_was_declared():
    net = Layer(3)
    net.initialize(ONE)
    net.chosen.initialize(TWO, force_reinit=True)
    net.open.data[:] = 9
    net.initialize(ONE, force_reinit=True)
    assert constants(net) == {"open": 1, "chosen": 3, "fixed": 1}


def test_force_reinit_with_the_seed_of_the_report_repeats_the_bits():
    net = nn.Sequential(nn.Dense(8, in_units=4))
    report = net.initialize(init.Normal())
    first = np.asarray(net[0].weight.value)
    net.initialize(init.Normal(), force_reinit=True)
    assert (first != net[0].weight.value).all()
    net.initialize(init.Normal(), seed=report.seed, force_reinit=True)
    np.testing.assert_array_equal(first, net[0].weight.value)


def test_a_default_leaves_declared_biases_alone_and_a_rule_does_not():
    net = nn.Sequential(nn.Dense(4, in_units=3))
    net.initialize(ONE)
    assert constants(net) == {"0.weight": 1, "0.bias": 0}
    net.initialize({"*": ONE}, force_reinit=True)
    assert constants(net) == {"0.weight": 1, "0.bias": 1}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("*.bias", {"0.bias", "1.bias"}),
        ("0.*", {"0.weight", "0.bias"}),
        (re.compile(r"^1\..*s$"), {"1.bias"}),
        (nn.Dense, {"0.weight", "1.weight"}),
        (lambda path, parameter: parameter.ndim == 1, {"0.bias", "1.bias"}),
    ],
)
def test_selectors_pick_parameters(selector, selected):
    net = nn.Sequential(nn.Dense(4, in_units=3), nn.Dense(2, in_units=4))
    net.initialize({selector: init.Constant(7)})
    assert {path for path, value in constants(net).items() if value == 7} == selected


def test_the_first_rule_that_matches_wins():
    net = nn.Sequential(nn.Dense(4, in_units=3))
    net.initialize({"0.weight": ONE, "*": TWO})
    assert constants(net) == {"0.weight": 1, "0.bias": 2}


def test_the_report_says_which_rule_set_which_parameter():
    net = nn.Sequential(nn.Dense(4, in_units=3), nn.Dense(2))
    net[0].weight.initialize(ONE)
    report = net.initialize({"1.weight": "xavier"}, seed=7)
    assert report.seed == 7
    assert {path: entry.status for path, entry in report.items()} == {
        "0.weight": "kept",
        "0.bias": "initialised",
        "1.weight": "deferred",
        "1.bias": "initialised",
    }
    assert report["1.weight"].initializer == init.Xavier()
    assert report["1.weight"].reason == "rule '1.weight'"
    assert report["0.bias"].reason == "declared by its layer"
    assert "1 kept their values" in repr(report)


def test_a_rule_that_matches_nothing_warns_with_a_hint():
    net = nn.Sequential(nn.Dense(4, in_units=3))
    with pytest.warns(az.UnmatchedRuleWarning, match=r"'0.weigth'.*did you mean '0.weight'"):
        net.initialize({"0.weigth": ONE})


def test_initialising_again_without_force_reinit_changes_nothing_and_warns_once():
    net = nn.Sequential(nn.Dense(4, in_units=3))
    net.initialize(ONE)
    with pytest.warns(az.AlreadyInitializedWarning, match="force_reinit=True") as caught:
        net.initialize(TWO)
    assert len(caught) == 1
    assert constants(net)["0.weight"] == 1


def test_initialising_again_replaces_the_choice_for_what_still_waits():
    net = nn.Sequential(nn.Dense(4))
    net.initialize(ONE)
    net.initialize(TWO)
    net(jnp.ones((1, 3)))
    assert constants(net)["0.weight"] == 2


def tied():
    net = nn.Sequential(nn.Dense(4, in_units=4), nn.Dense(4, in_units=4))
    net[1].weight = net[0].weight
    return net


def test_rules_that_disagree_on_a_tied_parameter_are_reported():
    net = tied()
    with pytest.warns(az.RuleConflictWarning, match=r"'0.weight' \(also 1.weight\) and differ"):
        net.initialize({"0.weight": ONE, "1.weight": TWO})
    assert (net[1].weight.value == 1).all()


def test_rules_that_agree_on_a_tied_parameter_are_silent():
    net = tied()
    net.initialize({"0.weight": ONE, "1.weight": init.Constant(1)})
    assert (net[1].weight.value == 1).all()


def test_a_tied_parameter_is_drawn_once():
    drawn = []

    class Counting(init.Initializer):
        def draw(self, rng, spec):
            drawn.append(spec.path)
            return rng.standard_normal(spec.shape)

    tied().initialize(Counting())
    assert drawn == ["0.weight"]


def test_one_failing_initialiser_leaves_the_whole_network_as_it_was():
    net = nn.Sequential(nn.Dense(4, in_units=3), nn.Dense(2, in_units=4))
    net.initialize(ONE)
    with pytest.raises(az.InitializationError, match=r"'1.bias'"):
        net.initialize({"1.bias": "xavier", "*": TWO}, force_reinit=True)
    assert constants(net) == {"0.weight": 1, "0.bias": 0, "1.weight": 1, "1.bias": 0}


def test_a_default_that_none_of_the_selected_parameters_is_open_to_is_a_warning():
    net = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(2))
    message = r"Normal\(sigma=0.1\) sets nothing: each of the 3 selected parameters has an init"
    with pytest.warns(az.UnmatchedRuleWarning, match=message) as caught:
        net.collect_params(lambda path, _: path != "0.weight").initialize(init.Normal(0.1))
    assert caught[0].filename == __file__
    # What they are declared with is no surprise, and one open parameter is enough.
    net.collect_params("*.bias").initialize(init.Zeros(), force_reinit=True)
    net.collect_params("0.*").initialize(init.Normal(0.1), force_reinit=True)
    # For a whole network a default yields to what the layers declare.
    net[1].initialize(init.Normal(0.1), force_reinit=True)


@pytest.mark.parametrize("channels", [None, 4])
def test_a_rule_that_gives_the_scale_of_a_norm_fans_is_refused_before_any_input(channels):
    net = nn.Sequential(nn.Dense(4, in_units=3), nn.BatchNorm(channels))
    with pytest.raises(
        az.InitializationError, match=r"'1\.weight' has shape .*the type of the layer"
    ):
        net.initialize({"*.weight": init.Kaiming()})
    assert not net[0].weight.has_value
    net.initialize({nn.Dense: init.Kaiming()})
    net.initialize(init.Xavier(), force_reinit=True)
    assert net(jnp.ones((2, 3))).shape == (2, 4)
