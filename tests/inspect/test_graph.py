"""The drawing of modules and ties."""

from xml.etree import ElementTree

import ansatz as az
from ansatz import nn

SVG = "{http://www.w3.org/2000/svg}"


def drawn(net: nn.Module) -> tuple[list[str], int]:
    """The lines of text, and how many ties there are."""
    tree = ElementTree.fromstring(net.graph())
    texts = [each.text or "" for each in tree.iter(f"{SVG}text")]
    return texts, sum(each.get("class") == "tie" for each in tree.iter(f"{SVG}path"))


def test_each_name_has_a_line_in_order() -> None:
    texts, ties = drawn(nn.Sequential(nn.Linear(2, 3), nn.Dense(4, use_bias=False)))
    assert texts == ["Sequential", "0 Linear", "weight (3, 2)", "bias (3,)", "1 Dense",
                     "weight (4, None)"]  # fmt: skip
    assert ties == 0


def test_a_tie_is_an_arc_and_says_that_it_is_transposed() -> None:
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    assert drawn(net) == (
        ["Sequential", "0 Linear", "weight (3, 2)", "1 Linear", "weight (2, 3), transposed"],
        1,
    )


def test_a_layer_that_stands_twice_is_drawn_once_and_joined() -> None:
    shared = nn.Linear(2, 2)
    texts, ties = drawn(nn.Sequential(shared, nn.Linear(2, 2), shared))
    assert texts.count("weight (2, 2)") == 2
    assert ties == 1


def test_names_are_escaped_and_notebooks_show_it() -> None:
    net = nn.Sequential()
    net.add_module("<script>&\"'", nn.Linear(1, 1))
    assert "<script" not in net.graph()
    assert "<script>&\"' Linear" in drawn(net)[0]
    assert net.graph()._repr_svg_() == str(net.graph())  # type: ignore[attr-defined]
