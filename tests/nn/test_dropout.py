import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn

ONES = jnp.ones((64, 64))


def test_what_is_kept_is_scaled_up_and_the_share_is_the_rate():
    dropout = nn.Dropout(0.25)
    dropout.initialize(seed=0)
    y = np.asarray(dropout(ONES))
    np.testing.assert_allclose(np.unique(y), [0, 4 / 3], rtol=1e-6)
    # 4096 draws: four standard deviations of the share of zeros.
    assert abs((y == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / y.size)


def test_evaluation_gives_back_the_input():
    assert nn.Dropout(0.9).eval()(ONES) is ONES


def test_rate_zero_gives_back_the_input_and_rate_one_nothing():
    assert nn.Dropout(0)(ONES) is ONES
    assert not nn.Dropout(1)(ONES).any()


def test_the_gradient_goes_through_what_was_kept():
    dropout = nn.Dropout(0.5)

    def loss(dropout, x):
        y = dropout(x)
        return y.sum(), y

    grads, y = az.grad(loss, 1, has_aux=True)(dropout, ONES)
    assert (grads == y).all()


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match="from 0 to 1"):
        nn.Dropout(rate)


def test_masks_differ_from_step_to_step_under_jit():
    dropout = nn.Dropout(0.5)
    step = az.jit(lambda net, x: net(x))
    first, second = step(dropout, ONES), step(dropout, ONES)
    assert (first != second).any()
    assert step.traces == 1


def test_seed_makes_masks_reproducible():
    def masks(run):
        az.seed(7)
        net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
        return [run(net, ONES) for _ in range(2)]

    eager = masks(lambda net, x: net(x))
    compiled = masks(az.jit(lambda net, x: net(x)))
    for a, b in zip(eager, compiled, strict=True):
        assert (a == b).all()
    az.seed(8)
    assert (nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))(ONES) != eager[0]).any()


def test_two_layers_of_one_network_draw_different_masks():
    a, b = nn.Dropout(0.5), nn.Dropout(0.5)
    net = nn.Sequential(a, b)
    net.initialize(seed=0)
    assert (a(ONES) != b(ONES)).any()


def test_plain_jit_is_refused_because_it_would_repeat_the_mask():
    dropout = nn.Dropout(0.5)
    dropout(ONES)
    with pytest.warns(az.StaleParameterWarning), pytest.raises(az.TraceError, match=r"az\.jit"):
        jax.jit(lambda x: dropout(x))(ONES)


def test_mapped_instances_draw_masks_of_their_own():
    y = az.vmap(lambda net, x: net(x), in_axes=(None, 0))(nn.Dropout(0.5), ONES)
    assert (y[0] != y[1]).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_dtype_is_kept(dtype):
    assert nn.Dropout(0.5)(ONES.astype(dtype)).dtype == dtype


def test_the_stream_is_no_parameter_and_may_be_missing_from_a_checkpoint():
    dropout = nn.Dropout(0.5)
    assert not dropout.collect_params()
    assert dropout.stream.optional
    assert repr(dropout) == "Dropout(rate=0.5)"


@settings(max_examples=15, deadline=None)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), data=st.data())
def test_elements_along_the_axes_are_dropped_together(shape, data):
    axes = data.draw(st.lists(st.integers(-len(shape), len(shape) - 1), max_size=2))
    y = np.asarray(nn.Dropout(0.5, axes=axes)(jnp.ones(shape)))
    assert y.shape == tuple(shape)
    for axis in axes:
        assert (y == y.take([0], axis)).all()
    assert set(np.unique(y)) <= {0.0, 2.0}


def test_channels_of_images_are_dropped_as_a_whole_and_independently():
    dropout = nn.Dropout(0.5, axes=(1, 2))
    dropout.initialize(seed=0)
    y = np.asarray(dropout(jnp.ones((32, 3, 3, 64))))
    channels = y[:, 0, 0]
    assert (y == channels[:, None, None]).all()
    # 2048 draws: four standard deviations of the share of zeros.
    assert abs((channels == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(channels.size)


def test_axes_that_the_input_does_not_have_are_refused_also_in_evaluation():
    with pytest.raises(az.ShapeError, match=r"\(2,\).*\(4, 4\)"):
        nn.Dropout(0.5, axes=2).eval()(jnp.ones((4, 4)))
    with pytest.raises(az.ShapeError, match="axis 0"):
        nn.DropPath(0.5)(jnp.ones(()))


def test_drop_path_leaves_out_whole_examples():
    layer = nn.DropPath(0.25)
    layer.initialize(seed=0)
    y = np.asarray(az.jit(layer)(jnp.ones((2000, 3, 2))))
    examples = y[:, 0, 0]
    assert (y == examples[:, None, None]).all()
    np.testing.assert_allclose(np.unique(examples), [0, 4 / 3], rtol=1e-6)
    assert abs((examples == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    assert layer.eval()(ONES) is ONES
    with pytest.raises(ValueError, match="rate of DropPath"):
        nn.DropPath(2)


def test_alpha_dropout_keeps_mean_and_variance():
    dropout = nn.AlphaDropout(0.25)
    dropout.initialize(seed=0)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 64)), "float32")
    y = np.asarray(dropout(x))
    # 4096 draws: four standard deviations of the mean; the variance of squares is below 4.
    assert abs(y.mean()) < 4 / 64
    assert abs(y.var() - 1) < 4 * 2 / 64
    assert dropout.eval()(x) is x


def test_alpha_dropout_follows_the_formula_of_the_paper():
    # Klambauer et al. 2017, with λ and α of equation 14.
    saturated, q = -1.0507009873554805 * 1.6732632423543772, 0.75
    a = (q + saturated**2 * q * (1 - q)) ** -0.5
    b = -a * (1 - q) * saturated
    x = jnp.full((8, 8, 4), 0.5)
    y = np.asarray(nn.AlphaDropout(0.25, axes=1)(x))
    np.testing.assert_allclose(np.unique(y), [a * saturated + b, a * 0.5 + b], rtol=1e-6)
    assert (y == y[:, :1]).all()
    assert nn.AlphaDropout(0)(x) is x
    assert not nn.AlphaDropout(1)(x).any()


def test_gaussian_noise_is_added_and_gaussian_dropout_multiplies():
    x = jnp.full((64, 64), 3.0)
    for layer, mean, std in (
        (nn.GaussianNoise(0.5), 3, 0.5),
        # The variance of the factor is rate / (1 - rate).
        (nn.GaussianDropout(0.2), 3, 3 * 0.5),
    ):
        layer.initialize(seed=0)
        y = np.asarray(layer(x))
        # 4096 draws: four standard deviations of mean and standard deviation.
        assert abs(y.mean() - mean) < 4 * std / 64
        assert abs(y.std() - std) < 4 * std / 64 / np.sqrt(2)
        assert (np.asarray(layer(x)) != y).any()
        assert layer(x.astype("bfloat16")).dtype == jnp.bfloat16
        assert layer.eval()(x) is x
    assert nn.GaussianNoise(0)(x) is x
    assert nn.GaussianDropout(0)(x) is x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.AlphaDropout(2), "rate of AlphaDropout .* from 0 to 1; got 2"),
        (lambda: nn.GaussianDropout(1), "from 0 to below 1, got 1"),
        (lambda: nn.GaussianNoise(-1), "std of GaussianNoise .* got -1"),
        (lambda: nn.GaussianNoise(float("nan")), "got nan"),
    ],
)
def test_noise_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dropout_prints_its_axes():
    assert repr(nn.AlphaDropout(0.5)) == "AlphaDropout(rate=0.5)"
    assert repr(nn.GaussianDropout(0.5)) == "GaussianDropout(rate=0.5)"
    assert repr(nn.GaussianNoise(0.5)) == "GaussianNoise(std=0.5)"
    assert repr(nn.Dropout(0.5, axes=(1, 2))) == "Dropout(rate=0.5, axes=(1, 2))"
    assert repr(nn.DropPath(0.5)) == "DropPath(rate=0.5)"
