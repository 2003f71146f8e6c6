"""The table of other libraries' names promises only what there is."""

import pathlib
import re

import pytest

import ansatz as az
from ansatz import init, nn

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coming-from.md"
SPACES = {"az": az, "init": init, "nn": nn}


def ours():
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and line.count(" | ") == 1:
            yield from re.findall(r"\b(az|init|nn)\.(\w+)", line.split(" | ")[1])


@pytest.mark.parametrize("space", SPACES)
def test_every_name_in_the_column_of_ansatz_exists(space):
    names = {name for where, name in ours() if where == space}
    assert names
    assert [name for name in sorted(names) if not hasattr(SPACES[space], name)] == []


def test_every_section_has_rows():
    sections = PAGE.read_text().split("\n## ")[1:-1]
    assert [text.splitlines()[0] for text in sections] == [
        "PyTorch",
        "Gluon",
        "Keras",
        "Flax NNX",
        "Equinox",
    ]
    assert all(text.count("\n| `") >= 5 for text in sections)
