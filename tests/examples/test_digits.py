"""The demo tells its story to the end, and reads the digits well."""

import io

import pytest
from rich.console import Console

from examples.digits import main


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    console = Console(record=True, width=120, file=io.StringIO())
    accuracies = main(console, tmp_path_factory.mktemp("digits"))
    return accuracies, console.export_text()


def test_the_demo_reads_at_least_97_of_100_test_scans(told):
    (reached, _), _ = told
    assert reached >= 0.97


def test_the_loaded_network_is_as_good_to_the_last_digit(told):
    (reached, loaded), text = told
    assert loaded == reached
    assert "bit for bit?    True" in text


@pytest.mark.parametrize(
    "part",
    [
        "(256, None)",
        "DeferredInitializationError",
        "look.weight (256, None) -> (256, 64)",
        "(rule Dense)",
        "one object? True",
        "updated, was edited",
        "look.weight    moved by at most 0\n",
        "= ponder.weight",
    ],
)
def test_the_demo_shows_each_station_in_the_life_of_a_parameter(told, part):
    _, text = told
    assert part in text
