import re

import pytest

import ansatz as az
from ansatz import nn
from ansatz.core.paths import find, names_of, replace
from tests.core.layers import Affine, Chain


def tied():
    net = Chain(Affine(2, 2), Affine(2, 2))
    net.layers[1].weight = net.layers[0].weight
    return net


def test_all_names_of_a_cell_are_known():
    net = tied()
    az.tie(net, "layers.0.bias", "layers.1.bias")
    names = names_of(net)[net.layers[0].weight]
    assert names.path == "layers.0.weight"
    assert names.aliases == ("layers.1.weight",)
    assert names.owners == (net.layers[0], net.layers[1])
    assert names.transposed == frozenset()


def test_transposed_names_are_marked():
    net = Chain(Affine(2, 3), Affine(3, 2))
    az.tie(net, "layers.0.weight", "layers.1.weight", transpose=True)
    assert names_of(net)[net.layers[0].weight].transposed == {"layers.1.weight"}


@pytest.mark.parametrize(
    ("selector", "picked"),
    [
        ("*.bias", ["layers.0.bias", "layers.1.bias"]),
        ("layers.1.*", ["layers.0.weight", "layers.1.bias"]),
        ("*", ["layers.0.weight", "layers.0.bias", "layers.1.bias"]),
        (re.compile(r"1\.bias$"), ["layers.1.bias"]),
        (Affine, ["layers.0.weight", "layers.0.bias", "layers.1.bias"]),
        (lambda path, p: p.ndim == 1, ["layers.0.bias", "layers.1.bias"]),
    ],
)
def test_selectors_pick_by_any_name(selector, picked):
    assert list(tied().collect_params(selector)) == picked


def test_a_glob_with_a_leading_dot_also_means_the_top_level():
    assert list(Affine(1, 1).collect_params("*.bias")) == ["bias"]


def test_a_selector_of_no_known_kind_is_refused():
    with pytest.raises(TypeError, match=r"a selector is a glob .* got 3"):
        tied().collect_params(3)


def test_a_selector_that_picks_nothing_warns_with_all_names():
    with pytest.warns(az.UnmatchedRuleWarning, match=r"the parameters are: layers.0.weight"):
        assert len(tied().collect_params("*.scale")) == 0


def test_a_warning_does_not_list_hundreds_of_names():
    net = nn.Sequential(*(nn.Dense(1) for _ in range(50)))
    with pytest.warns(az.UnmatchedRuleWarning, match=r"5\.bias and 88 more \(net") as caught:
        net.freeze("*.scale")
    assert len(str(caught[0].message)) < 300


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        (r"layers\.\d\.weight", r"pass re\.compile\(…\) for a regular expression"),
        ("layers.0.wieght", "did you mean 'layers.0.weight'"),
        ("layers", r"all below is 'layers\.\*'"),
    ],
)
def test_a_selector_that_picks_nothing_comes_with_a_hint(selector, hint):
    with pytest.warns(az.UnmatchedRuleWarning, match=hint):
        tied().collect_params(selector)


def test_parameters_are_found_under_every_name():
    params = tied().collect_params()
    assert params["layers.1.weight"] is params["layers.0.weight"]
    assert "layers.1.weight" in params
    assert list(params) == ["layers.0.weight", "layers.0.bias", "layers.1.bias"]
    assert params.aliases == {"layers.0.weight": ("layers.1.weight",)}
    with pytest.raises(az.PathError, match=r"'layers.1.wight'; did you mean 'layers.1.weight'"):
        params["layers.1.wight"]
    with pytest.raises(KeyError):
        params["nothing"]


def test_setting_many_values_is_all_or_nothing():
    net = tied()
    net.initialize("ones")
    with pytest.raises(az.ShapeError):
        net.collect_params().set({"layers.0.weight": [[0, 0], [0, 0]], "layers.0.bias": [1, 2, 3]})
    assert net.layers[0].weight.value.tolist() == [[1, 1], [1, 1]]
    net.collect_params().set({"layers.1.weight": [[0, 0], [0, 0]], "layers.0.bias": [1, 2]})
    assert net.layers[0].weight.value.tolist() == [[0, 0], [0, 0]]


def test_find_and_replace_reach_into_nested_containers():
    net = az.Module()
    net.parts = {"a": [Affine(1, 1)], 3: {"own": az.Parameter((1,))}}
    new = az.Parameter((1,))
    replace(net, "parts.a.0.bias", new)
    assert find(net, "parts.a.0.bias") is new
    other = az.Parameter((1,))
    replace(net, "parts.3.own", other)
    assert net.parts[3]["own"] is other


def test_names_with_spaces_and_brackets_are_only_names():
    net = az.Module()
    net.add_module("block [1]", Affine(1, 1))
    assert list(net.collect_params(re.compile(re.escape("block [1]")))) == [
        "block [1].weight",
        "block [1].bias",
    ]
    assert net.get_parameter("block [1].bias").path == "block [1].bias"


@pytest.mark.parametrize("verb", ["collect_params", "freeze", "unfreeze"])
def test_a_selector_that_matches_nothing_is_warned_of_where_it_stands(verb):
    with pytest.warns(az.UnmatchedRuleWarning) as caught:
        getattr(nn.Dense(2, 3), verb)("nothing")
    assert caught[0].filename == __file__
