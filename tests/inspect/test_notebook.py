"""What notebooks show."""

import copy
import gc
import pickle
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import nn
from ansatz.core import verbs
from ansatz.inspect import notebook, summary
from ansatz.inspect.notebook import show_state_dicts_in


class Strict(HTMLParser):
    """Collects the cells of a table, and refuses what has no place in one."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        allowed = ("div", "table", "caption", "b", "thead", "tbody", "tr", "th", "td")
        assert tag in allowed
        assert {name for name, _ in attrs} <= {"style", "scope"}
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def table(html: str) -> list[list[str]]:
    parser = Strict()
    parser.feed(html)
    assert not parser.open
    return parser.rows


def tied() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    return net


def test_a_network_shows_each_name_of_each_parameter_without_drawing_it() -> None:
    net = tied()
    head, *rows = table(net._repr_html_())
    assert head == ["path", "layer", "shape", "dtype", "count", "origin"]
    assert rows[0] == ["0.weight", "Linear", "(3, 2)", "float32", "6", "not initialised yet"]
    assert rows[2] == ["1.weight", "Linear", "(2, 3)", "", "", "= 0.weight, transposed"]
    assert not net[0].weight.has_value


def test_a_selection_shows_only_what_was_selected() -> None:
    rows = table(tied().collect_params("*.bias")._repr_html_())
    assert [row[0] for row in rows[1:]] == ["0.bias", "1.bias"]
    assert "5, all trained, float32, 20 bytes" in tied().collect_params("*.bias")._repr_html_()


def test_the_summary_shows_its_statistics_too() -> None:
    net = nn.Dense(2, in_units=2, bias_init="ones")
    net.initialize("zeros", seed=0)
    head, weight, bias = table(net.summary()._repr_html_())
    assert dict(zip(head, bias, strict=True))["mean"] == "1"
    assert dict(zip(head, weight, strict=True))["std"] == "0"


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b", "\"'><img onerror=x>"])
def test_names_are_escaped(name: str) -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    net.add_module(name, nn.Linear(1, 1))
    (path,) = {row[0] for row in table(net._repr_html_()) if row[0].endswith(".weight")} - {
        "0.weight"
    }
    assert path == f"{name}.weight"


def test_no_colour_is_fixed_so_that_light_and_dark_both_work() -> None:
    net = tied()
    net(jnp.ones((1, 2)))
    style = " ".join(re.findall(r'style="([^"]*)"', net._repr_html_()))
    assert not re.search(r"(^|[;\s])(color|background)", style)


class Formatter:
    """As much of IPython's formatter as finds out how an object is shown."""

    def __init__(self) -> None:
        self.type_printers: dict[type, Any] = {}

    def for_type(self, kind: type, printer: Any) -> Any:
        before = next(
            (self.type_printers[k] for k in kind.__mro__ if k in self.type_printers), None
        )
        self.type_printers[kind] = printer
        return before

    def __call__(self, shown: object) -> Any:
        for kind in type(shown).__mro__:
            if kind in self.type_printers:
                return self.type_printers[kind](shown)
        return shown._repr_html_() if hasattr(shown, "_repr_html_") else None


class WithHtml(dict[str, Any]):
    """A dict that says itself how it is shown."""

    def _repr_html_(self) -> str:
        return "its own"


@pytest.fixture
def formatter(monkeypatch: pytest.MonkeyPatch) -> Formatter:
    monkeypatch.setattr(verbs, "_verbs", dict(verbs._verbs))
    html = Formatter()
    show_state_dicts_in(
        SimpleNamespace(display_formatter=SimpleNamespace(formatters={"text/html": html}))
    )
    return html


def test_a_state_dict_shows_as_the_table_of_its_network(formatter: Formatter) -> None:
    net = tied()
    assert table(formatter(net.state_dict(aliases=True))) == table(net._repr_html_())
    rows = table(formatter({**net.state_dict()}))
    assert [row[0] for row in rows[1:]] == ["0.weight", "0.bias", "1.bias"]


def test_every_other_dict_shows_as_before(formatter: Formatter) -> None:
    state = tied().state_dict()
    others = (
        {},
        {"a": 1},
        {**state, "x": 1},
        {1: jnp.ones(2)},
        jax.tree.map(lambda x: x, {"a": 1}),
    )
    assert [formatter(other) for other in others] == [None] * len(others)
    assert formatter(WithHtml(state)) == "its own"
    formatter.type_printers[object] = lambda shown: f"everything: {len(shown)}"
    assert formatter({"a": 1}) == "everything: 1"


def test_what_was_remembered_of_arrays_goes_with_them(formatter: Formatter) -> None:
    net = tied()
    state = net.state_dict()
    given = formatter.type_printers[dict].__self__._given
    assert len(given) == 3
    az.jit(lambda net: net.state_dict()["0.bias"])(net)  # Of tracers, nothing is remembered.
    assert len(given) == 3
    del net, state
    gc.collect()
    assert not given


def test_giving_a_state_dict_makes_no_table(
    formatter: Formatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = tied()
    made: list[object] = []

    def counted(*args: Any, **options: Any) -> Any:
        made.append(args)
        return summary(*args, **options)

    monkeypatch.setattr(notebook, "summary", counted)
    state = net.state_dict()
    assert not made
    assert formatter(state) is not None
    assert len(made) == 1


def test_a_state_dict_from_before_says_what_was_replaced(formatter: Formatter) -> None:
    net = tied()
    state = net.state_dict()
    net[0].bias.value = jnp.ones(3)
    origins = {row[0]: row[-1] for row in table(formatter(state))[1:]}
    assert origins["0.bias"] == "replaced since"
    assert "FanInUniform" in origins["0.weight"]
    assert {row[-1] for row in table(formatter(net.state_dict()))} >= {"edited"}
    del net[1]
    assert formatter(state) is None  # There is no row for all of it any more.


def test_a_copy_does_not_take_the_state_dict_of_its_original(formatter: Formatter) -> None:
    net = tied()
    state = net.state_dict()
    twin = copy.deepcopy(net)
    twin.state_dict()
    del twin
    gc.collect()
    assert formatter(state) is not None
    assert formatter({**state, "2": nn.Dense(1, in_units=1).state_dict()["bias"]}) is None
    del net
    gc.collect()
    assert formatter(state) is None  # The network is what could tell of it.


def test_a_state_dict_is_a_plain_dict_to_everybody_else() -> None:
    """A subclass would be refused beside a plain dict, as measured with jax 0.10 and 0.12."""
    state = tied().state_dict()
    plain = dict(state)
    assert type(state) is dict
    assert jax.tree.structure(state) == jax.tree.structure(plain)
    assert type(jax.tree.map(jnp.add, state, plain)) is dict
    assert type(jax.grad(lambda s: sum(x.sum() for x in s.values()))(state)) is dict
    assert type(state | plain) is type(state.copy()) is type(copy.deepcopy(state)) is dict
    assert type(pickle.loads(pickle.dumps(state))) is dict
    step = jax.lax.scan(lambda s, _: ({k: v + 1 for k, v in s.items()}, None), state, length=2)[0]
    assert step["0.bias"] == pytest.approx(state["0.bias"] + 2)
