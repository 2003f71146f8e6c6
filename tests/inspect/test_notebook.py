"""What notebooks show."""

import re
from html.parser import HTMLParser

import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import nn


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
