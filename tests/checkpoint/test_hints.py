"""What the author of a checkpoint may have meant."""

import pytest

from ansatz.checkpoint.hints import computed_hint, near, prefix_hint, table_hint

NAMES = ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_one_prefix_too_much_is_named_with_the_renaming(prefix: str) -> None:
    hint = prefix_hint([prefix + name for name in NAMES], NAMES)
    assert f"4 of 4 names in the file only have the prefix {prefix!r} too much" in hint
    assert f"rename=az.checkpoint.strip_prefix({prefix!r})" in hint


def test_one_prefix_too_little_is_named_with_the_renaming() -> None:
    hint = prefix_hint(NAMES, ["encoder." + name for name in NAMES])
    assert "rename=lambda name: 'encoder.' + name" in hint


def test_a_prefix_that_helps_most_names_is_worth_a_hint() -> None:
    found = ["m." + name for name in NAMES[:3]] + ["m.step"]
    assert prefix_hint(found, NAMES).startswith("3 of 4")


@pytest.mark.parametrize(
    ("unexpected", "missing"),
    [([], []), (NAMES, []), ([], NAMES), (["x.y"], NAMES), (["w"], ["v"])],
)
def test_no_hint_is_given_where_no_prefix_helps(unexpected: list[str], missing: list[str]) -> None:
    assert prefix_hint(unexpected, missing) == ""


@pytest.mark.parametrize(
    ("unexpected", "missing", "table"),
    [
        (["r._unfused.0.i2h_bias"], ["r.bias_ih_l0"], "GLUONCV"),
        (["params.a.kernel", "params.a.bias"], ["a.weight", "a.bias"], "FLAX"),
        (["layers.dense.0", "layers.dense.1"], ["dense.weight", "dense.bias"], "KERAS"),
    ],
)
def test_names_of_another_library_are_met_with_their_table(
    unexpected: list[str], missing: list[str], table: str
) -> None:
    hint = table_hint(unexpected, missing)
    assert f"{len(missing)} of {len(unexpected)} names in the file would fit" in hint
    assert hint.endswith(f"rename=az.checkpoint.rename_tables.{table}")


@pytest.mark.parametrize("prefix", ["module.", "model.", "bert.", "x."])
def test_no_table_is_named_where_a_prefix_is_all_there_is_to_it(prefix: str) -> None:
    assert table_hint([prefix + name for name in NAMES], NAMES) == ""
    assert table_hint(["x.y"], NAMES) == table_hint([], []) == ""


def test_a_near_name_is_suggested() -> None:
    assert near("0.wieght", NAMES) == "did you mean '0.weight' or '1.weight'?"


def test_a_message_about_thousands_of_names_does_not_compare_them_all() -> None:
    many = [f"layer{i}.weight" for i in range(3000)]
    assert near("layer0.wieght", many, rivals=3000) == ""


ADAPTED = ["0.parametrizations.weight.original", "0.parametrizations.weight.0.lora_a"]


def test_weights_that_one_side_computes_are_told_with_the_order_of_calls() -> None:
    assert "load first, and call az.lora" in computed_hint(["0.weight"], ADAPTED)
    assert "az.merge(net)" in computed_hint(ADAPTED, ["0.weight"])
    assert "'weight' is plain" in computed_hint(["parametrizations.weight.original0"], ["weight"])


@pytest.mark.parametrize(
    ("unexpected", "missing"), [([], ADAPTED), (["1.weight"], ADAPTED), (["0.weight"], ["0.bias"])]
)
def test_no_hint_is_given_where_no_side_computes(unexpected: list[str], missing: list[str]) -> None:
    assert computed_hint(unexpected, missing) == ""
