"""Batches: every example once per epoch, in an order that the seed decides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ansatz as az
from ansatz.train import TrainingError, batches


def order(data):
    return np.concatenate([y for _, y in data]).tolist()


@given(
    size=st.integers(1, 40),
    batch_size=st.integers(1, 45),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_each_epoch_holds_every_example_once(size, batch_size, shuffle, seed):
    x, y = np.arange(size) * 10, np.arange(size)
    data = batches(x, y, batch_size, shuffle=shuffle, seed=seed)
    for _ in range(2):
        epoch = list(data)
        assert len(epoch) == len(data)
        assert all(len(part) == batch_size for part, _ in epoch[:-1])
        assert all((part == 10 * labels).all() for part, labels in epoch)
        assert sorted(order(epoch)) == list(range(size))


@given(size=st.integers(1, 40), batch_size=st.integers(1, 40))
def test_without_the_last_all_batches_are_full(size, batch_size):
    x = np.arange(size)
    if size < batch_size:
        with pytest.raises(TrainingError, match="drop_last"):
            batches(x, x, batch_size, drop_last=True)
        return
    data = batches(x, x, batch_size, drop_last=True)
    assert [len(part) for part, _ in data] == [batch_size] * (size // batch_size)


def test_epochs_differ_and_the_same_seed_repeats_them():
    x = np.arange(50)
    first, second = batches(x, x, 8, seed=3), batches(x, x, 8, seed=3)
    epochs = [order(first) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [order(second) for _ in range(3)] == epochs
    assert order(batches(x, x, 8, seed=4)) != epochs[0]


def test_the_global_seed_decides_where_none_is_given():
    x = np.arange(50)
    az.seed(1)
    first, other = order(batches(x, x, 8)), order(batches(x, x, 8))
    az.seed(1)
    assert order(batches(x, x, 8)) == first != other


def test_unshuffled_batches_are_views_in_the_order_of_the_data():
    x = np.arange(6.0)
    (first, _), *_ = batches(x, x, 4, shuffle=False)
    assert np.shares_memory(first, x)


def test_several_inputs_are_cut_alike():
    x = (np.arange(6), {"mask": np.arange(6) * 2})
    for (a, b), y in batches(x, np.arange(6), 2):
        np.testing.assert_array_equal(a, y)
        np.testing.assert_array_equal(b["mask"], 2 * y)


def test_lists_are_taken_for_arrays():
    assert [y.tolist() for _, y in batches([[1], [2]], [1, 2], 1, shuffle=False)] == [[1], [2]]


def test_arrays_of_different_lengths_are_refused_with_their_shapes():
    with pytest.raises(az.ShapeError, match=r"\(3, 2\), \(4,\)"):
        batches(np.ones((3, 2)), np.ones(4), 2)
    with pytest.raises(az.ShapeError, match="a single number"):
        batches(np.ones(3), 1.0, 2)


def test_batches_of_nothing_are_refused():
    with pytest.raises(TrainingError, match="no examples"):
        batches(np.ones((0, 2)), np.ones(0), 2)
    with pytest.raises(TrainingError, match="batch_size=0"):
        batches(np.ones(3), np.ones(3), 0)
