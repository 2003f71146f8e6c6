import copy

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn
from tests.nn.reference import close


def test_without_a_choice_the_table_is_standard_normal():
    layer = nn.Embedding(200, 100)
    layer.initialize(seed=0)
    table = np.asarray(layer.weight.value)
    assert abs(table.mean()) < 4 / np.sqrt(table.size)
    assert abs(table.std() - 1) < 4 / np.sqrt(2 * table.size)


def test_the_default_given_to_initialize_reaches_the_table():
    layer = nn.Embedding(3, 2)
    layer.initialize(init.Constant(1))
    assert (layer.weight.value == 1).all()


def test_the_fan_in_is_the_number_of_rows():
    layer = nn.Embedding(30, 5)
    spec = init.Spec((30, 5), fan_axes=layer.weight.fan_axes)
    assert spec.fans == (30, 5)


@pytest.mark.parametrize("index", [7, -1, 1000])
def test_an_integer_out_of_range_gives_nan_and_no_gradient(index):
    layer = nn.Embedding(7, 4)
    y = layer(jnp.array([index, 2]))
    assert np.isnan(y[0]).all()
    assert not np.isnan(y[1]).any()
    grads = az.grad(lambda layer: layer(jnp.array([index, 2])).sum())(layer)
    assert grads["weight"].sum(1).tolist() == [0, 0, 4, 0, 0, 0, 0]


@pytest.mark.parametrize("x", [jnp.ones(3), jnp.array([True]), [1, 2]])
def test_anything_but_integers_is_refused(x):
    with pytest.raises(az.DTypeError, match="Embedding looks up integers"):
        nn.Embedding(7, 4)(x)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int8"])
def test_every_integer_dtype_is_accepted(dtype):
    assert nn.Embedding(7, 4)(np.array([1, 2], dtype)).shape == (2, 4)


def test_attend_compares_with_every_row():
    layer = nn.Embedding(7, 4)
    x = np.ones((2, 3, 4), np.float32)
    close(layer.attend(x), x @ np.asarray(layer.weight.value).T)


def test_attend_refuses_another_width():
    with pytest.raises(az.ShapeError, match=r"\(7, 5\)"):
        nn.Embedding(7, 4).attend(jnp.ones((2, 5)))


def test_a_tied_head_has_one_table_with_summed_gradients():
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(7, 4)

        def forward(self, x):
            return self.embed.attend(self.embed(x))

    net = Language()
    grads = az.grad(lambda net: net(jnp.array([3])).sum())(net)
    table = np.asarray(net.embed.weight.value)
    expected = np.tile(table[3], (7, 1))
    expected[3] += table.sum(0)
    close(grads["embed.weight"], expected, atol=1e-5)


def test_the_output_has_the_dtype_of_the_table():
    assert nn.Embedding(7, 4, dtype="bfloat16")(jnp.array([1])).dtype == "bfloat16"


def test_it_prints_the_shape_of_the_table():
    assert repr(nn.Embedding(7, 4)) == "Embedding(7, 4)"
    assert repr(nn.Embedding(7, 4, padding_index=-1)) == "Embedding(7, 4, padding_index=6)"


def test_the_row_of_padding_starts_at_zero_whatever_the_initialiser():
    net = nn.Sequential(nn.Embedding(7, 4, padding_index=-2))
    plain = nn.Sequential(nn.Embedding(7, 4))
    kept = np.arange(7) != 5
    for choice in (None, init.Constant(3), init.Xavier(), lambda shape: np.full(shape, 2.0)):
        for each in (net, plain):
            each.initialize(choice, seed=0, force_reinit=True)
        table = np.asarray(net[0].weight.value)
        assert not table[5].any()
        assert (table[kept] == np.asarray(plain[0].weight.value)[kept]).all()
    net[0].weight.initialize(init.Constant(1), force_reinit=True)
    assert not copy.deepcopy(net)[0](jnp.array([5])).any()


def test_the_row_of_padding_gets_a_gradient_only_from_attending():
    layer = nn.Embedding(3, 2, padding_index=0)
    x = jnp.array([0, 1, 0])
    grads = az.grad(lambda layer: layer(x).sum())(layer)
    assert grads["weight"].tolist() == [[0, 0], [1, 1], [0, 0]]
    grads = az.grad(lambda layer: layer.attend(jnp.ones((1, 2))).sum())(layer)
    assert grads["weight"][0].tolist() == [1, 1]


@pytest.mark.parametrize("row", [7, -8])
def test_padding_outside_of_the_table_is_refused(row):
    with pytest.raises(ValueError, match="one of 7 rows"):
        nn.Embedding(7, 4, padding_index=row)


def test_a_largest_norm_holds_for_what_comes_out_and_leaves_the_table_alone():
    layer = nn.Embedding(4, 3, max_norm=1.0, dtype="float16", weight_init=init.Constant(10))
    y = layer(jnp.array([2, 7]))
    close(y[0], np.full(3, 3**-0.5), rtol=1e-3)
    assert np.isnan(y[1]).all()
    assert (layer.weight.value == 10).all()
    assert repr(layer) == "Embedding(4, 3, max_norm=1.0)"


def test_a_largest_norm_may_be_a_number_of_numpy():
    layer = nn.Embedding(4, 3, max_norm=np.float32(1), norm_type=np.int64(2))
    assert repr(layer) == "Embedding(4, 3, max_norm=1.0)"


@pytest.mark.parametrize("option", [{"max_norm": 0}, {"max_norm": "1"}, {"norm_type": -1}])
def test_a_norm_that_is_not_positive_is_refused(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} of Embedding is a positive number"):
        nn.Embedding(4, 3, **option)
