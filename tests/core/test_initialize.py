import re

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import ansatz as az
from tests.core.layers import Affine, Chain, inputs


class Constant(az.Module):
    """A layer with one weight that is declared, one that has a fallback, and one left open."""

    def __init__(self):
        self.declared = az.Parameter((2,), init="ones")
        self.fallback = az.Parameter((2,), fallback=lambda shape: np.full(shape, 3, np.float32))
        self.open = az.Parameter((2,))
        self.state = az.State(shape=(2,), init="ones")


def constant(number):
    return lambda shape: np.full(shape, number, np.float32)


def values(net):
    return {path: float(value.ravel()[0]) for path, value in net.state_dict().items()}


# -- who decides --------------------------------------------------------------------------------


def test_without_a_choice_the_declaration_and_the_fallback_decide():
    net = Constant()
    net.initialize()
    assert values(net) == {"declared": 1, "fallback": 3, "open": 0, "state": 1}


def test_a_single_default_fills_what_is_left_open():
    net = Constant()
    net.initialize(constant(7))
    assert values(net) == {"declared": 1, "fallback": 7, "open": 7, "state": 1}


def test_a_rule_wins_over_the_declaration_and_never_touches_a_state():
    net = Constant()
    net.initialize({"*": constant(7)})
    assert values(net) == {"declared": 7, "fallback": 7, "open": 7, "state": 1}


def test_the_first_rule_that_selects_wins():
    net = Constant()
    net.initialize({"decl*": constant(5), "*": constant(7)})
    assert values(net) == {"declared": 5, "fallback": 7, "open": 7, "state": 1}


@pytest.mark.parametrize(
    "selector",
    ["open", re.compile("^op"), Constant, lambda path, p: p.init is None],
    ids=["glob", "regex", "type", "predicate"],
)
def test_selectors_of_every_kind(selector):
    net = Chain(Constant())
    selector = "*.open" if selector == "open" else selector
    selector = re.compile(r"\.op") if isinstance(selector, re.Pattern) else selector
    net.initialize({selector: constant(7)})
    assert values(net)["layers.0.open"] == 7
    assert values(net)["layers.0.declared"] == 1


def test_initialising_one_parameter_wins_over_all_rules():
    net = Constant()
    net.open.initialize(constant(9))
    report = net.initialize({"*": constant(7)})
    assert values(net)["open"] == 9
    assert report["open"].status == "kept"


def test_force_reinit_draws_all_anew_and_without_it_nothing():
    net = Constant()
    net.initialize()
    with pytest.warns(az.AlreadyInitializedWarning, match=r"all 4 parameters of Constant"):
        net.initialize(constant(7))
    assert values(net)["open"] == 0
    net.initialize(constant(7), force_reinit=True)
    assert values(net) == {"declared": 1, "fallback": 7, "open": 7, "state": 1}


def test_the_report_tells_what_was_done_and_why():
    net = Chain(Affine(2), Affine(3, 2))
    report = net.initialize({"*1.weight": "ones"}, seed=5)
    assert report.seed == 5
    assert report["layers.1.weight"].status == "initialised"
    assert report["layers.1.weight"].reason == "rule '*1.weight'"
    assert report["layers.0.weight"].status == "deferred"
    assert report["layers.0.weight"].reason == "the layer's fallback"
    assert report.count("initialised") == 3
    assert len(report) == len(list(report)) == 4
    assert repr(report).startswith("initialised 3, deferred 1, seed 5\n")


def test_a_rule_that_selects_nothing_warns_and_suggests():
    net = Chain(Affine(2, 2))
    with pytest.warns(az.UnmatchedRuleWarning, match=r"'layers.0.wieght' matched no.*did you mean"):
        net.initialize({"layers.0.wieght": "ones"})
    with pytest.warns(az.UnmatchedRuleWarning, match=r"pass re\.compile"):
        net.initialize({"layers.[0-9]+.weight$": "ones"}, force_reinit=True)


def test_two_rules_that_differ_for_a_tied_parameter_warn():
    net = Chain(Affine(2, 2), Affine(2, 2))
    net.layers[1].weight = net.layers[0].weight
    with pytest.warns(az.RuleConflictWarning, match=r"'layers.0.weight' \(also layers.1.weight\)"):
        net.initialize({"layers.1.weight": constant(7), "layers.0.weight": constant(8)})
    assert float(net.layers[0].weight.value[0, 0]) == 7


def test_a_failing_initialiser_changes_nothing():
    def fails(shape):
        raise RuntimeError("no")

    net = Constant()
    with pytest.raises(RuntimeError, match="no"):
        net.initialize({"open": fails})
    assert not any(cell.has_value for cell in net.parameters())


def test_initialising_anew_inside_a_trace_is_refused():
    net = Affine(2, 5)
    net.initialize(seed=0)
    for transform in (lambda f: az.jit(f), lambda f: az.remat(f), lambda f: jax.jit(f)):
        with pytest.raises(az.TraceError, match="initialised anew inside a JAX trace"):
            transform(lambda x: net.initialize(force_reinit=True) and None)(inputs())


def test_a_part_of_a_network_can_be_initialised_through_its_parameters():
    net = Chain(Affine(2, 2), Affine(2, 2))
    report = net.collect_params("*.weight").initialize("ones", seed=0)
    assert list(report) == ["layers.0.weight", "layers.1.weight"]
    assert not net.layers[0].bias.has_value


# -- what draws depend on -----------------------------------------------------------------------


def test_a_seed_fixes_all_values():
    net, other = Chain(Affine(3, 2)), Chain(Affine(3, 2))
    net.initialize(seed=1)
    other.initialize(seed=1)
    assert_array_equal(net.layers[0].weight.value, other.layers[0].weight.value)
    other.initialize(seed=2, force_reinit=True)
    assert (net.layers[0].weight.value != other.layers[0].weight.value).all()


def test_two_networks_built_alike_start_different():
    az.seed(0)
    net, other = Chain(Affine(3)), Chain(Affine(3))
    net(inputs())
    other(inputs())
    assert (net.layers[0].weight.value != other.layers[0].weight.value).all()


@pytest.mark.parametrize(
    "touch",
    [
        lambda net: net(inputs()),
        lambda net: net.layers[1](inputs(width=3)),
        lambda net: net.layers[0](inputs()),
        lambda net: az.jit(lambda layer, x: layer(x))(net.layers[1], inputs(width=3)),
        lambda net: net.layers[1].bias.value,
        lambda net: net.settle_shapes(inputs()).layers[1].weight.value,
    ],
)
def test_values_do_not_depend_on_the_part_that_is_touched_first(touch):
    net, wanted = Chain(Affine(3), Affine(2)), Chain(Affine(3), Affine(2))
    az.seed(0)
    wanted(inputs())
    az.seed(0)
    touch(net)
    net(inputs())
    for path, value in wanted.state_dict().items():
        assert_array_equal(net.state_dict()[path], value)


def test_a_layer_that_left_its_network_is_drawn_by_itself():
    net = Chain(Affine(3), Affine(2))
    layer = net.layers.pop()
    assert layer(inputs()).shape == (4, 2)
    del net.layers[0]
    net.other = layer
    assert net.other(inputs()).shape == (4, 2)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=3),
    st.integers(0, 2**40),
    st.sampled_from(["before", "after"]),
)
def test_a_draw_does_not_depend_on_other_layers(widths, seed, side):
    alone, among = az.Module(), az.Module()
    alone.layer = Affine(3, 2)
    if side == "before":
        among.others = [Affine(width, width) for width in widths]
    among.layer = Affine(3, 2)
    if side == "after":
        among.others = [Affine(width, width) for width in widths]
    alone.initialize(seed=seed)
    among.initialize(seed=seed)
    assert_array_equal(alone.layer.weight.value, among.layer.weight.value)


def test_a_tied_parameter_is_drawn_once_under_its_first_name():
    net, alone = Chain(Affine(2, 2), Affine(2, 2)), Chain(Affine(2, 2))
    az.tie(net, "layers.0.weight", "layers.1.weight", transpose=True)
    net.initialize(seed=4)
    alone.initialize(seed=4)
    assert_array_equal(net.layers[0].weight.value, alone.layers[0].weight.value)
    assert_array_equal(net.layers[1].weight.value, alone.layers[0].weight.value.T)


def test_reinitialising_does_not_trace_again():
    net = Chain(Affine(3, 5))
    run = az.jit(lambda net, x: net(x))
    first = run(net, inputs())
    net.initialize(seed=1, force_reinit=True)
    second = run(net, inputs())
    assert run.traces == 1
    assert not np.allclose(first, second)
