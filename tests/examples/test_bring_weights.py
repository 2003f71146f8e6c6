"""Networks that MXNet and PyTorch trained compute here what they computed there."""

import io
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from examples.bring_weights import CHAPTERS, answers, loaded, main

FORMATS = Path(__file__).parents[1] / "formats"
FRAMEWORK = {".params": "mxnet", ".pt": "torch"}


def expected_of(name):
    """What the framework itself answered, stored by tests/formats/make_trained.py."""
    framework = FRAMEWORK[Path(name).suffix]
    with np.load(FORMATS / f"trained_{framework}.expected.npz") as stored:
        network = Path(name).stem
        return stored["input"], stored[network], int(stored[f"{network}_right"])


@pytest.mark.parametrize("name", CHAPTERS)
def test_logits_are_those_of_the_framework_within_float32_rounding(name):
    images, logits, _ = expected_of(name)
    found = answers(loaded(name), jnp.moveaxis(images, 1, -1))
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=2e-6 * abs(logits).max())


def test_the_example_reads_exactly_as_many_test_scans_as_the_frameworks_did():
    console = Console(record=True, width=120, file=io.StringIO())
    right = main(console)
    assert right == {name: expected_of(name)[2] for name in CHAPTERS}
    assert min(right.values()) > 0.95 * 360
    told = console.export_text()
    assert "features.2.0.downsample.1.running_var" in told
    assert "356 of 360, 98.9%" in told
