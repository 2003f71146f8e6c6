"""How optimizer states follow their parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansatz.train import TrainingError
from ansatz.train.state import carry_over, fresh, like


@given(st.data())
def test_every_entry_stays_with_its_parameter(data):
    names = data.draw(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1))
    now = data.draw(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1))
    came_from = {path: data.draw(st.sampled_from([*names, None])) for path in now}
    old = {"trace": {name: np.full(2, float(ord(name))) for name in names}, "count": np.array(7)}
    new = {"trace": {path: np.zeros(2) for path in now}, "count": np.array(0)}
    merged = carry_over(old, new, came_from)
    assert merged["count"] == 7
    for path, before in came_from.items():
        expected = np.zeros(2) if before is None else old["trace"][before]
        np.testing.assert_array_equal(merged["trace"][path], expected)


def test_an_entry_of_another_shape_starts_fresh():
    old, new = {"m": {"w": np.ones(2)}}, {"m": {"w": np.zeros(3)}}
    np.testing.assert_array_equal(carry_over(old, new, {"w": "w"})["m"]["w"], np.zeros(3))


def test_a_fresh_state_shares_no_buffer():
    params = {"w": jnp.ones(300)}
    state = optax.contrib.schedule_free(optax.sgd(0.1), 0.1).init(params)
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, fresh(state)))]
    assert len(set(pointers)) == len(pointers)


def test_numbers_take_the_dtype_of_what_they_replace():
    current = {"rate": jnp.float32(1), "count": jnp.int32(1)}
    taken = like(current, {"rate": 2, "count": 3})
    assert taken["rate"].dtype == jnp.float32
    assert taken["count"].dtype == jnp.int32


def test_what_does_not_fit_is_named():
    current = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    with pytest.raises(TrainingError) as caught:
        like(current, {"a": np.zeros(3, np.float32), "c": np.zeros(2)})
    for part in ("missing ['b']", "unexpected ['c']", "['a'] of shape (3,)", "Nothing changed"):
        assert part in str(caught.value)
