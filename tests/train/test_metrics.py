"""Metrics and their means."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansatz.train import accuracy
from ansatz.train.metrics import average, check_metrics


def test_accuracy_is_the_share_of_correct_classes():
    logits = jnp.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [1.0, 0.0, 0.5], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(accuracy(logits, jnp.array([0, 1, 2, 2])), 0.75)


def test_accuracy_counts_every_position_of_a_sequence():
    logits = jnp.eye(3)[None]
    np.testing.assert_allclose(accuracy(logits, jnp.array([[0, 1, 0]])), 2 / 3, rtol=1e-6)


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), min_size=1, max_size=9))
def test_the_average_of_batch_means_is_the_mean_of_all_examples(batches):
    means = [{"m": np.float64(np.mean(batch))} for batch in batches]
    found = average(means, [len(batch) for batch in batches])["m"]
    np.testing.assert_allclose(found, np.mean(np.concatenate(batches)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (accuracy, "metrics are {name: function}, got"),
        ({"accuracy": "accuracy"}, r"metric 'accuracy' is a function .*az\.train\.accuracy; got"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, message):
    check_metrics(None)
    check_metrics({"accuracy": accuracy})
    with pytest.raises(TypeError, match=message):
        check_metrics(metrics)
