"""The plan: what it shows beforehand, and the six cases of ties."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import load_arrays, plan_load

FIXTURES = Path(__file__).parent / "fixtures"
ONES = np.ones((2, 2), "float32")
SQUARE = np.arange(4, dtype="float32").reshape(2, 2)


def stack(*ties: tuple[str, str], layers: int = 3, transpose: bool = False) -> nn.Sequential:
    """Layers of one weight each, "0.weight" and so on, some of them tied."""
    net = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(layers)))
    for kept, other in ties:
        az.tie(net, f"{kept}.weight", f"{other}.weight", transpose=transpose)
    return net


def state(**weights: Any) -> dict[str, Any]:
    return {f"{name[1:]}.weight": value for name, value in weights.items()}


def values(net: nn.Sequential) -> list[Any]:
    return [layer.weight.value.tolist() for layer in net]  # type: ignore[attr-defined]


# -- the six cases --------------------------------------------------------------------------------


def test_t_1_all_names_with_equal_values_are_accepted() -> None:
    net = stack(("0", "1"), layers=2)
    report = net.load_state_dict(state(_0=SQUARE, _1=SQUARE))
    assert [row.status for row in report] == ["match"]
    assert values(net) == [SQUARE.tolist()] * 2
    assert net[0].weight is net[1].weight


def test_t_2_different_values_under_two_names_are_refused_with_both_names() -> None:
    net = stack(("0", "1"), layers=2)
    with pytest.raises(
        az.CheckpointError, match=r"'0\.weight' and '1\.weight'.* up to 2"
    ) as caught:
        net.load_state_dict(state(_0=ONES, _1=3 * ONES))
    assert "rename={'1.weight': None}" in str(caught.value)


def test_t_2_the_caller_chooses_by_leaving_one_out_or_by_untying() -> None:
    given = state(_0=ONES, _1=3 * ONES)
    net = stack(("0", "1"), layers=2)
    net.load_state_dict(given, rename={"1.weight": None})
    assert values(net) == [ONES.tolist()] * 2
    az.untie(net, "1.weight")
    net.load_state_dict(given)
    assert values(net) == [ONES.tolist(), (3 * ONES).tolist()]


@pytest.mark.parametrize("name", ["0", "1"])
def test_t_3_one_name_fills_the_group_and_the_report_says_so(name: str) -> None:
    net = stack(("0", "1"), layers=2)
    report = net.load_state_dict({f"{name}.weight": SQUARE})
    assert values(net) == [SQUARE.tolist()] * 2
    other = "1" if name == "0" else "0"
    assert f"also fills '{other}.weight', which the file does not name" in repr(report)


def test_t_4_no_name_is_missing_under_the_first_with_all_others() -> None:
    net = stack(("0", "1"), ("0", "2"))
    plan = plan_load(net, {})
    assert plan.report.missing_keys == ["0.weight"]
    assert "also called '1.weight', '2.weight'" in repr(plan)


def test_t_5_a_tie_of_the_file_fills_every_path_of_an_untied_network(tmp_path: Path) -> None:
    tied = stack(("0", "1"), layers=2)
    tied.save(tmp_path / "tied.safetensors")
    net = stack(layers=2)
    report = net.load(tmp_path / "tied.safetensors")
    assert values(net) == values(tied)
    assert net[0].weight is not net[1].weight
    assert "the file ties '0.weight' and '1.weight', the network does not" in repr(report)


def test_t_5_a_tie_that_pytorch_wrote_down_fills_every_path() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net.load(FIXTURES / "torch_tied.safetensors")
    assert net[1].weight.value.tolist() == np.arange(9).reshape(3, 3).tolist()
    assert net[1].bias.value.tolist() == [0, -1, -2]


def test_t_6_a_tie_over_other_paths_is_refused_with_both_groups(tmp_path: Path) -> None:
    stack(("0", "2")).save(tmp_path / "tied.safetensors")
    net = stack(("0", "1"))
    before = values(net)
    with pytest.raises(az.CheckpointError) as caught:
        net.load(tmp_path / "tied.safetensors")
    assert "the file ties '0.weight' and '2.weight'" in str(caught.value)
    assert "the network ties '0.weight' and '1.weight'" in str(caught.value)
    assert values(net) == before


def test_t_6_the_advice_to_tie_them_alike_works(tmp_path: Path) -> None:
    tied = stack(("0", "2"))
    tied.save(tmp_path / "tied.safetensors")
    net = stack(("0", "1"))
    az.untie(net, "1.weight")
    az.tie(net, "0.weight", "2.weight")
    net.load(tmp_path / "tied.safetensors")
    assert values(net) == values(tied)


def test_a_larger_group_in_the_file_is_not_a_contradiction(tmp_path: Path) -> None:
    tied = stack(("0", "1"), ("0", "2"))
    tied.save(tmp_path / "tied.safetensors")
    net = stack(("0", "1"))
    net.load(tmp_path / "tied.safetensors")
    assert values(net) == values(tied)


def test_a_smaller_group_in_the_file_is_checked_by_value(tmp_path: Path) -> None:
    stack(("0", "1")).save(tmp_path / "tied.safetensors")
    with pytest.raises(az.CheckpointError, match=r"'0\.weight' and '2\.weight' are one"):
        stack(("0", "1"), ("0", "2")).load(tmp_path / "tied.safetensors")


def test_a_layer_alone_is_filled_from_the_name_it_shares(tmp_path: Path) -> None:
    tied = nn.Sequential(
        {"embed": nn.Linear(2, 2, bias=False), "head": nn.Linear(2, 2, bias=False)}
    )
    az.tie(tied, "embed.weight", "head.weight")
    tied.save(tmp_path / "tied.safetensors")
    head = nn.Sequential({"head": nn.Linear(2, 2, bias=False)})
    head.load(tmp_path / "tied.safetensors")
    np.testing.assert_array_equal(head["head"].weight.value, tied["embed"].weight.value)


# -- transposed ties ------------------------------------------------------------------------------


def transposed() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Linear(5, 3, bias=False))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    return net


def test_a_transposed_tie_is_stored_once_and_comes_back(tmp_path: Path) -> None:
    net = transposed()
    net.save(tmp_path / "net.safetensors")
    assert [a.shape for a in load_arrays(tmp_path / "net.safetensors").values()] == [(5, 3)]
    again = transposed()
    again.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again[0].weight.value, net[0].weight.value)
    np.testing.assert_array_equal(again[1].weight.value, net[0].weight.value.T)


def test_a_file_that_gives_the_transposed_name_is_loaded_transposed() -> None:
    net = transposed()
    seen = np.arange(15, dtype="float32").reshape(3, 5)
    net.load_state_dict({"1.weight": seen})
    np.testing.assert_array_equal(net[0].weight.value, seen.T)
    np.testing.assert_array_equal(net[1].weight.value, seen)


def test_both_names_of_a_transposed_tie_are_compared_transposed() -> None:
    net = transposed()
    seen = np.arange(15, dtype="float32").reshape(3, 5)
    net.load_state_dict({"0.weight": seen.T, "1.weight": seen})
    with pytest.raises(az.CheckpointError, match="differ by up to 1"):
        net.load_state_dict({"0.weight": seen.T, "1.weight": seen + 1})


def test_a_wrong_shape_under_the_transposed_name_is_reported_as_it_is_seen_there() -> None:
    with pytest.raises(
        az.CheckpointError,
        match=r"\(5, 3\) in the file \(as '1\.weight'\), \(3, 5\) in the network",
    ):
        transposed().load_state_dict({"1.weight": np.ones((5, 3), "f4")})


def test_a_transposed_tie_of_the_file_fills_an_untied_network(tmp_path: Path) -> None:
    net = transposed()
    net.save(tmp_path / "net.safetensors")
    untied = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Linear(5, 3, bias=False))
    untied.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(untied[1].weight.value, net[0].weight.value.T)


def test_a_tie_that_only_one_side_transposes_is_refused(tmp_path: Path) -> None:
    stack(("0", "1"), layers=2, transpose=True).save(tmp_path / "net.safetensors")
    with pytest.raises(az.CheckpointError, match="only one of them transposes"):
        stack(("0", "1"), layers=2).load(tmp_path / "net.safetensors")


def test_a_deferred_transposed_tie_is_settled_from_either_name() -> None:
    net = nn.Sequential(nn.Dense(5, use_bias=False), nn.Dense(3, use_bias=False))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    net[0].weight.init = net[1].weight.init = "zeros"
    net.load_state_dict({"1.weight": np.ones((3, 5), "f4")})
    assert net[0].weight.shape == (5, 3)


# -- looking before loading -----------------------------------------------------------------------


def test_a_plan_changes_nothing_and_can_be_carried_out() -> None:
    net = nn.Dense(2, use_bias=False)
    plan = plan_load(net, {"weight": SQUARE})
    assert plan.ok
    assert net.weight.shape == (2, None)
    assert not net.weight.has_value
    report = plan.commit()
    assert report.done
    assert net.weight.value.tolist() == SQUARE.tolist()


def test_a_plan_is_a_table_of_every_parameter() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dense(1))
    plan = plan_load(net, {"0.weight": ONES, "1.weight": np.ones((1, 2), "f4"), "x": ONES})
    assert repr(plan).splitlines() == [
        "would load 2 of 4 from the state dict into Sequential: "
        "1 match, 1 settled, 2 missing, 1 unexpected",
        "  match       0.weight  (2, 2)     float32",
        "  missing     0.bias    (2,)       float32  !",
        "  settled     1.weight  (1, None)  float32  now (1, 2)",
        "  missing     1.bias    (1,)       float32  !",
        "  unexpected  x                             !",
    ]
    assert not plan.ok


def test_a_plan_for_a_network_that_changed_since_is_refused() -> None:
    net = nn.Dense(2, use_bias=False)
    plan = plan_load(net, {"weight": SQUARE})
    net(jnp.ones((1, 7)))
    with pytest.raises(az.CheckpointError, match=r"'weight' has shape \(2, 7\) .*now"):
        plan.commit()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda net: net.__setitem__(0, nn.Linear(2, 2, bias=False)), "'0.weight' has become an"),
        (lambda net: net.append(nn.Linear(2, 2, bias=False)), "'2.weight' has come"),
        (lambda net: net.pop(1), "'1.weight' has gone"),
        (lambda net: az.tie(net, "0.weight", "1.weight"), "the ties of '0.weight' have changed"),
    ],
    ids=["replaced", "added", "removed", "tied"],
)
def test_a_plan_for_other_layers_than_there_are_now_is_refused(change: Any, said: str) -> None:
    net = stack(layers=2)
    plan = plan_load(net, state(_0=SQUARE, _1=SQUARE))
    change(net)
    net.initialize(seed=0)
    before = values(net)
    with pytest.raises(az.CheckpointError, match=f"{said}.*plan it again"):
        plan.commit()
    assert values(net) == before


def test_a_plan_for_ties_that_were_undone_since_is_refused() -> None:
    net = stack(("0", "1"), layers=2)
    plan = plan_load(net, state(_0=SQUARE))
    az.untie(net, "1.weight")
    with pytest.raises(az.CheckpointError, match="plan it again"):
        plan.commit()


def test_a_plan_does_not_convert_for_a_network_that_was_cast_since() -> None:
    net = nn.Linear(2, 2, bias=False)
    plan = plan_load(net, {"weight": SQUARE})
    net.collect_params().cast("bfloat16")
    with pytest.raises(az.CheckpointError, match="dtype bfloat16 now"):
        plan.commit()


def test_two_names_of_a_deferred_parameter_must_agree_on_its_shape() -> None:
    net = nn.Sequential(nn.Dense(2, use_bias=False), nn.Dense(2, use_bias=False))
    az.tie(net, "0.weight", "1.weight")
    with pytest.raises(az.CheckpointError, match=r"\(2, 4\) in the file \(as '1\.weight'\)"):
        net.load_state_dict({"0.weight": np.ones((2, 3), "f4"), "1.weight": np.ones((2, 4), "f4")})
    assert net[0].weight.shape == (2, None)


def test_wrong_shape_and_wrong_dtype_of_one_parameter_are_both_named() -> None:
    plan = plan_load(nn.Linear(2, 2, bias=False), {"weight": np.ones(3)})
    (row,) = plan.report.faults
    assert row.status == "shape"
    assert "(3,) in the file" in row.note
    assert "float64 in the file" in row.note


def test_a_notebook_shows_a_plan_and_a_report_as_tables() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    plan = plan_load(net, {"0.weight": np.ones((3, 4), "float32"), "<script>": np.ones(3)})
    html = plan._repr_html_()
    for told in ["would load 0 of 2", "0.weight", "(3, 4) in the file", "&lt;script&gt;", "! "]:
        assert told in html
    assert "<script" not in html
    done = net.load_state_dict(net.state_dict())._repr_html_()
    assert "loaded 2 of 2" in done
    assert "0.weight" not in done  # What fits has nothing to tell, as in the text.
