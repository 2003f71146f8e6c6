"""The example adapts with few parameters, and merging changes no answer."""

import io

import pytest
from rich.console import Console

from examples.lora import main


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    console = Console(record=True, width=120, file=io.StringIO())
    rows = main(console, tmp_path_factory.mktemp("lora"))
    return rows, console.export_text()


def test_less_than_5_of_100_parameters_learn_the_turned_scans(told):
    rows, _ = told
    total, trainable, _, before = rows["with new adapters"]
    assert trainable < 0.05 * total
    assert before < 0.3
    assert rows["adapters trained on turned scans"][-1] >= 0.9


def test_new_adapters_and_none_change_nothing(told):
    rows, _ = told
    plain = rows["trained on upright scans"][2:]
    assert plain[0] >= 0.95
    assert rows["with new adapters"][2:] == plain
    assert rows["adapters taken off"][2:] == plain


def test_the_merged_network_is_as_good_and_no_larger(told):
    rows, text = told
    adapted = rows["adapters trained on turned scans"]
    assert rows["fresh copy, adapters from the file"][2:] == adapted[2:]
    assert rows["merged into its weights"][2:] == adapted[2:]
    assert rows["merged into its weights"][0] == rows["trained on upright scans"][0]
    assert "turned.safetensors" in text
