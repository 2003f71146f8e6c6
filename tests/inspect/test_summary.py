"""The summary of a network."""

import io
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import ansatz as az
from ansatz import init, nn
from ansatz.checkpoint import load_state_dict
from ansatz.inspect import Summary, count, summary
from ansatz.inspect.outputs import calls_in_words


class Branching(nn.Module):
    """A layer that calls reach, one that they do not, and a step counter."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Dense(2)
        self.spare = nn.Dense(3)
        self.steps = az.State(0)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.used(x)


def deep(blocks: int) -> nn.Sequential:
    """Blocks of two layers each."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)) for _ in range(blocks)))


def row(table: Summary, path: str):  # type: ignore[no-untyped-def]
    (found,) = [row for row in table if row.path == path]
    return found


def lines(table: Summary, width: int = 100) -> list[str]:
    return table.text(width).splitlines()


def test_without_inputs_unknown_dimensions_stay_unknown() -> None:
    net = nn.Sequential(nn.Dense(4))
    table = net.summary()
    assert row(table, "0.weight").shape == (4, None)
    assert row(table, "0.weight").count is None
    assert "no input has reached it yet" in str(table)
    assert net[0].weight.is_deferred


def test_lists_and_dicts_of_layers_are_told_apart() -> None:
    net = nn.Module()
    net.blocks = [nn.Linear(2, 2)]
    net.tables = {"colour": nn.Embedding(3, 2)}
    table = net.summary(depth=1)
    assert [(row(table, p).layer) for p in ("blocks", "tables")] == ["list", "dict"]


@pytest.mark.parametrize(
    "x", [jnp.ones((2, 3)), np.ones((2, 3), "f4"), jax.ShapeDtypeStruct((2, 3), "float32")]
)
def test_inputs_settle_the_shapes_and_nothing_is_drawn_or_computed(x: object) -> None:
    class NeverDrawn(init.Initializer):
        def draw(self, rng: np.random.Generator, spec: init.Spec) -> np.ndarray:  # type: ignore[type-arg]
            raise AssertionError

    net = nn.Sequential(nn.Dense(4, weight_init=NeverDrawn(), bias_init=NeverDrawn()))
    table = net.summary(x)
    assert row(table, "0.weight").shape == (4, 3)
    assert row(table, "0.weight").origin == "not initialised yet"
    assert table.totals.parameters == 16


def test_keyword_inputs_settle_the_shapes_too() -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Dense(4)

        def forward(self, *, x: jax.Array) -> jax.Array:
            return self.dense(x)

    assert row(Keyword().summary(x=jnp.ones((2, 3))), "dense.weight").shape == (4, 3)


def test_a_row_tells_all_that_is_known() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    net.initialize({"*.weight": init.Constant(0.5)}, seed=7)
    net.freeze("*.bias")
    found = row(net.summary(), "0.weight")
    assert (found.layer, found.shape, found.dtype, found.count) == ("Linear", (3, 2), "float32", 6)
    assert (found.trainable, found.mean, found.std, found.nbytes) == (True, 0.5, 0, 24)
    assert found.origin.startswith("initialised by Constant(value=0.5) (rule '*.weight'")
    assert row(net.summary(), "0.bias").kind == "frozen"


def test_the_origin_of_what_was_edited_or_loaded_is_told() -> None:
    net = nn.Linear(2, 2)
    net.weight.data[:] = 1.0
    load_state_dict(net, {"bias": np.zeros(2, "f4")}, strict=False)
    assert row(net.summary(), "weight").origin == "edited"
    assert row(net.summary(), "bias").origin == "loaded from a state dict as 'bias'"


def test_a_tied_parameter_is_counted_once_and_every_name_says_with_whom_it_is_shared() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    az.tie(net, "0.weight", "1.weight")
    table = net.summary()
    assert row(table, "0.weight").aliases == ("1.weight",)
    assert row(table, "1.weight").shared_with == "0.weight"
    assert row(table, "1.weight").count is None
    assert table.totals.parameters == 9 + 3 + 3
    assert any("1.weight" in line and line.endswith("= 0.weight") for line in lines(table))


def test_a_transposed_tie_is_marked() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    assert row(net.summary(), "1.weight").shape == (3, 5)
    assert "= 0.weight, transposed" in str(net.summary())


def test_a_layer_used_twice_is_counted_once() -> None:
    shared = nn.Linear(3, 3)
    table = nn.Sequential(shared, shared).summary()
    assert table.totals.parameters == 12
    assert [r.path for r in table if r.shared_with] == ["1.weight", "1.bias"]


def test_what_no_input_reaches_is_listed_with_the_reason() -> None:
    net = Branching()
    table = net.summary(jnp.ones((1, 4)))
    assert table.totals.deferred == {"spare.weight": "these inputs do not reach it"}
    assert "not known   1: these inputs do not reach it" in str(table)
    assert lines(table)[-1].strip() == "spare.weight"


def test_totals_tell_trained_frozen_states_and_bytes() -> None:
    net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    net.counter = az.State(jnp.zeros(5, "int32"))
    net.freeze("1.*")
    net.collect_params("0.*").cast("bfloat16")
    totals = net.summary().totals
    assert (totals.trainable, totals.frozen, totals.states) == (110, 110, 5)
    assert (totals.parameter_bytes, totals.state_bytes) == (110 * 2 + 110 * 4, 20)
    assert "parameters  220 (110 trained, 110 frozen), bfloat16, float32, 660 bytes" in str(
        net.summary()
    )
    assert "states      5, 20 bytes" in str(net.summary())


def test_statistics_are_shown_only_for_what_has_a_value() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert "mean" not in lines(net.summary())[2]
    net[0].weight.data[:] = 3.0
    table = net.summary()
    assert (row(table, "0.weight").mean, row(table, "1.weight").mean) == (3, None)
    assert "mean" in lines(table)[2]
    assert "mean" not in lines(net.summary(statistics=False))[2]
    assert not net[1].weight.has_value


def test_depth_adds_up_what_lies_below() -> None:
    net = deep(3)
    net.freeze("1.1.*")
    table = net.summary(depth=1)
    assert [r.path for r in table] == ["0", "1", "2"]
    assert [r.count for r in table] == [144] * 3
    assert [r.kind for r in table] == ["trained", "mixed", "trained"]
    assert [r.layer for r in table] == ["Sequential"] * 3
    assert table.totals == net.summary().totals
    assert "4 arrays" in str(table)


def test_depth_keeps_ties_and_unknown_shapes_in_sight() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3)), nn.Dense(1))
    az.tie(net, "0.0.weight", "1.0.weight")
    net.append(net[0])
    table = net.summary(depth=1)
    assert row(table, "1").origin == "shares with 0"
    assert row(table, "2").origin == "1 not known yet"
    assert row(table, "3").shared_with == "0"
    assert any(line.startswith("3 ") and "= 0" in line for line in lines(table))


def test_depth_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1; got 0"):
        deep(1).summary(depth=0)


@given(width=st.integers(60, 160), blocks=st.integers(1, 12), depth=st.integers(1, 3))
def test_no_line_is_wider_than_asked_for(width: int, blocks: int, depth: int) -> None:
    net = deep(blocks)
    net.append(net[0])
    az.tie(net, "0.0.weight", "0.1.weight", transpose=True)
    net.freeze("*.bias")
    assert max(map(len, lines(net.summary().at_depth(depth), width))) <= width


def test_long_paths_keep_their_ends_and_ties_always_show() -> None:
    name = "a_rather_long_name_of_a_block"
    net = nn.Sequential(nn.Linear(2, 2))
    for _ in range(4):
        net = nn.Sequential({name: net})
    net.add_module("last", nn.Linear(2, 2))
    az.tie(net, f"{'.'.join([name] * 4)}.0.weight", "last.weight")
    text = lines(net.summary(), 60)
    assert max(map(len, text)) <= 60
    assert any("0.weight" in line and line.startswith("…") for line in text)
    assert any(line.startswith("last.weight") and "0.weight" in line for line in text)


def test_a_network_of_200_parameters_fits_80_columns() -> None:
    net = deep(50)
    net.initialize(seed=0)
    text = lines(net.summary(), 80)
    assert max(map(len, text)) <= 80
    assert sum(".weight" in line or ".bias" in line for line in text) == 200
    assert count(net) == net.summary().totals.parameters == 50 * 144


def test_rich_prints_the_same_text() -> None:
    net = Branching()
    net(jnp.ones((1, 4)))
    console = Console(width=100, file=io.StringIO())
    console.print(net.summary())
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in printed.splitlines()] == lines(net.summary())


def test_rich_marks_values_that_are_not_finite() -> None:
    net = nn.Linear(1, 1)
    net.weight.data[:] = jnp.nan
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(net.summary())
    assert "\x1b[1;31m nan" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_network_without_parameters_has_a_summary() -> None:
    assert lines(nn.Sequential(nn.ReLU()).summary()) == [
        "Sequential",
        "",
        "parameters  0, 0 bytes",
    ]


def test_a_summary_is_a_sequence_of_rows() -> None:
    table = summary(nn.Linear(2, 2))
    assert len(table) == len(list(table)) == 2
    assert repr(table) == str(table) == table.text(100)
    assert (table[0].path, table[-1].path) == ("weight", "bias")
    assert "weight" in table
    assert table[0] in table
    assert "0" not in table
    assert 0 not in table
    with pytest.raises(IndexError, match="row 2 is asked for, but the table has 2"):
        table[2]
    with pytest.raises(TypeError, match=r"a row is asked for by its path or its number, got 1\.5"):
        table[1.5]  # type: ignore[index]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((999,), "4 kB"), ((2000,), "8 kB"), ((1000, 1000), "4 MB"), ((1500, 1000, 1000), "6 GB")],
)
def test_bytes_are_told_in_units_that_people_read(shape: tuple[int, ...], expected: str) -> None:
    net = nn.Module()
    net.weight = az.Parameter(shape)
    assert str(net.summary()).endswith(expected)


def shapes(table: Summary, path: str) -> list[tuple[int, ...]]:
    return [output.shape for output in table[path].outputs]


def test_inputs_tell_what_each_layer_gives() -> None:
    net = nn.Sequential(
        nn.Conv2D(8, 3), nn.ReLU(), nn.Sequential(nn.GlobalAvgPool2D(), nn.Dense(5))
    )
    table = net.summary(jax.ShapeDtypeStruct((2, 8, 8, 3), "bfloat16"))
    assert [r.path for r in table if r.kind == "layer"] == ["0", "1", "2", "2.0", "2.1"]
    assert shapes(table, "0") == shapes(table, "1") == [(2, 6, 6, 8)]
    assert table.outputs[0].shape == (2, 1, 1, 5)
    assert lines(table)[0] == "Sequential → float32[2, 1, 1, 5]"
    assert not any(parameter.has_value for parameter in net.parameters())
    assert not any(r.outputs for r in net.summary())


def test_depth_shows_outputs_beside_what_lies_below() -> None:
    table = nn.Sequential(nn.Sequential(nn.Dense(4), nn.ReLU()), nn.ReLU()).summary(
        jax.ShapeDtypeStruct((2, 3), "float32"), depth=1
    )
    assert [(r.path, r.count, r.entries) for r in table] == [("0", 16, 2), ("1", None, 0)]
    assert shapes(table, "0") == shapes(table, "1") == [(2, 4)]
    assert table.totals.parameters == 16


class Twice(nn.Module):
    """One layer on two inputs, under two names; inside transforms; with a nested output."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Dense(4)
        self.again = self.dense
        self.drop = nn.Dropout(0.5)

    @az.jit
    def compiled(self, x: jax.Array) -> jax.Array:
        return self.dense(x)

    def forward(self, x: jax.Array, *, y: jax.Array) -> object:
        last, each = az.scan(lambda c, row: (c + self.drop(row).sum(), row), 0.0, self.dense(x))
        return {"last": (last, None), "each": [each, az.remat(self.compiled)(y)]}


def test_each_call_of_a_shared_layer_shows_also_inside_transforms() -> None:
    net = Twice()
    x, y = (jax.ShapeDtypeStruct((rows, 4), "float32") for rows in (3, 2))
    for _ in range(2):  # A program that is compiled already hides nothing.
        table = net.summary(x, y=y)
        assert shapes(table, "dense") == [(3, 4), (2, 4)]
        assert shapes(table, "drop") == [(4,)]  # Once, however often the step was traced.
        assert table["again"].shared_with == "dense"
        assert "{each: [float32[3, 4], float32[2, 4]], last: (float32[], None)}" in str(table)
        net(jnp.ones((3, 4)), y=jnp.ones((2, 4)))
    twice = net.summary(y, y=y)
    assert any("2 × float32[2, 4]" in line for line in lines(twice))
    assert max(map(len, lines(twice, 60))) <= 60


class Calling(nn.Module):
    """Calls a layer once, by way of a function that it is given."""

    def __init__(self, units: int | None, call: Callable[[nn.Dense, jax.Array], jax.Array]) -> None:
        super().__init__()
        self.dense = nn.Dense(4, in_units=units)
        self.call = call

    def forward(self, x: jax.Array) -> jax.Array:
        return self.call(self.dense, x)


@pytest.mark.parametrize("units", [None, 4])
@pytest.mark.parametrize(
    "call",
    [
        lambda dense, x: az.value_and_grad(lambda dense, x: dense(x).sum())(dense, x)[0],
        lambda dense, x: az.grad(lambda dense, x: dense(x).sum())(dense, x)["bias"],
        lambda dense, x: az.vmap(dense)(x),
        lambda dense, x: dense.settle_shapes(x)(x),
    ],
)
def test_a_call_counts_once_whether_or_not_it_has_to_find_shapes(
    units: int | None, call: Callable[[nn.Dense, jax.Array], jax.Array]
) -> None:
    table = Calling(units, call).summary(jax.ShapeDtypeStruct((2, 4), "float32"))
    assert len(table["dense"].outputs) == 1


def test_every_layer_of_a_stack_has_its_row_though_only_one_is_traced() -> None:
    shared = nn.Dense(4)
    stack = nn.Stack(lambda: nn.Sequential(nn.Dense(4), nn.ReLU(), shared), 3)
    table = stack.summary(jax.ShapeDtypeStruct((2, 4), "float32"))
    called = [path for path in table.layers if path]
    assert len(called) == 12
    assert [row.path for row in table if row.kind == "layer"] == called
    for path in ("0", "1", "2", "0.0", "1.1", "2.1"):
        assert shapes(table, path) == [(2, 4)]
    assert shapes(table, "0.2") == [(2, 4)] * 3
    assert table["1.2"].shared_with == "0.2"
    assert len(table.outputs) == 1


def test_a_network_that_looks_at_values_is_run_on_the_actual_inputs() -> None:
    class Looking(nn.Dense):
        def forward(self, x: jax.Array) -> jax.Array:
            y = super().forward(x)
            return y if x.sum() > 0 else y[:1]

    net = nn.Sequential(nn.ReLU(), Looking(2))
    assert shapes(net.summary(jnp.ones((3, 4))), "1") == [(3, 2)]
    assert shapes(net.summary(-jnp.ones((3, 4))), "1") == [(1, 2)]
    assert shapes(net.summary(jnp.ones((3, 4))), "0") == [(3, 4)]


def test_a_path_that_has_no_row_suggests_near_ones() -> None:
    with pytest.raises(az.PathError, match="did you mean 'weight'"):
        nn.Linear(1, 1).summary()["weigth"]


def test_an_output_of_any_kind_is_told() -> None:
    class Pair(NamedTuple):
        first: object
        rest: object

    x = jax.ShapeDtypeStruct((), "int32")
    assert calls_in_words([Pair(x, ("a", None)), object()]) == (
        "Pair(first=int32[], rest=('a', None)); object"
    )
    assert calls_in_words([x] * 2 + [(x,), [x], (x,), x]) == (
        "2 × int32[]; (int32[],); [int32[]]; … 6 calls"
    )
    assert calls_in_words([nn.ReLU()]) == "ReLU"
