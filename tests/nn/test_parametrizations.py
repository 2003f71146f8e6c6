"""Weight norm and spectral norm; the numbers of PyTorch are in `tests/parity`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import init, nn

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), "float32")


class Convolution(nn.Module):
    """A weight of four dimensions, as convolutions have."""

    def __init__(self, *shape):
        super().__init__()
        self.weight = az.Parameter(shape)

    def forward(self, x):
        return jnp.tensordot(x, self.weight.value.reshape(len(self.weight.value), -1).T, 1)


shapes = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@given(shapes, st.data())
@settings(max_examples=8)
def test_weight_norm_starts_with_the_value_of_the_weight(shape, data):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    layer = Convolution(*shape)
    before = layer.weight.value
    nn.weight_norm(layer, axis=axis)
    np.testing.assert_allclose(layer.weight.value, before, rtol=1e-5, atol=1e-7)
    lengths = layer.weight.original0.shape
    position = None if axis is None else axis % len(shape)
    assert lengths == tuple(n if i == position else 1 for i, n in enumerate(shape)) or (
        axis is None and lengths == ()
    )


@given(shapes, st.data())
@settings(max_examples=8)
def test_spectral_norm_gives_a_largest_singular_value_of_one(shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    layer = Convolution(*shape)
    rng = np.random.default_rng(0)
    # A large part of rank one, because power iteration takes long where two values are close.
    rows, others = shape[axis], [size for i, size in enumerate(shape) if i != axis]
    dominant = np.multiply.outer(rng.normal(size=rows) + 3, rng.normal(size=others) + 3)
    value = dominant + 0.1 * rng.normal(size=dominant.shape)
    layer.weight.value = jnp.asarray(np.moveaxis(value, 0, axis), "float32")
    nn.spectral_norm(layer, axis=axis).eval()
    found = np.moveaxis(np.asarray(layer.weight.value), axis, 0)
    expected = value / np.linalg.norm(value.reshape(rows, -1), 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_lengths_are_drawn_with_the_directions():
    late, early = (nn.weight_norm(nn.Dense(4, width), "weight") for width in (None, 3))
    late.initialize(init.Normal(2.0), seed=3)
    early.initialize(init.Normal(2.0), seed=3)
    assert late.weight.is_deferred
    late(X)
    for layer in (late, early):
        v = np.asarray(layer.weight.original1.value)
        assert np.std(v) > 1
        norm = np.linalg.norm(v, axis=1, keepdims=True)
        np.testing.assert_allclose(layer.weight.original0.value, norm, rtol=1e-6)
        np.testing.assert_allclose(layer.weight.value, v, rtol=1e-6)
    assert (late.weight.value == early.weight.value).all()
    late.initialize({"*.original1": init.Constant(2)}, force_reinit=True)
    np.testing.assert_allclose(late.weight.original0.value, np.full((4, 1), np.sqrt(12)))


def test_lengths_along_an_unknown_axis_are_settled_with_the_weight():
    layer = nn.weight_norm(nn.Dense(4), axis=1)
    assert layer.weight.original0.shape == (1, None)
    az.jit(layer)(X)
    assert layer.weight.original0.shape == (1, 3)


def test_a_normed_weight_can_be_assigned():
    layer = nn.weight_norm(nn.Linear(2, 2))
    layer.weight.value = jnp.array([[3.0, 4.0], [0.0, 2.0]])
    assert layer.weight.original0.value.tolist() == [[5], [2]]
    assert layer.weight.value.tolist() == [[3, 4], [0, 2]]


@pytest.mark.parametrize("norm", [nn.weight_norm, nn.spectral_norm])
def test_weights_of_zeros_stay_finite(norm):
    layer = norm(nn.Dense(2, weight_init="zeros"), "weight")
    loss, grads = az.value_and_grad(lambda layer: layer(X).sum())(layer)
    assert float(loss) == 0
    assert all(jnp.isfinite(grad).all() for grad in grads.values())
    assert bool((layer.weight.value == 0).all())


@pytest.mark.parametrize("norm", [nn.weight_norm, nn.spectral_norm])
def test_half_precision_goes_through(norm):
    layer = norm(nn.Linear(3, 2, dtype="bfloat16"))
    assert layer.weight.value.dtype == "bfloat16"
    assert layer(X.astype("bfloat16")).dtype == "bfloat16"


@pytest.mark.parametrize("norm", [nn.weight_norm, nn.spectral_norm])
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0)])
def test_empty_weights_are_no_special_case(norm, sizes):
    layer = norm(nn.Dense(*sizes))
    assert layer(jnp.ones((2, sizes[1]))).shape == (2, sizes[0])


def test_vectors_are_left_out():
    net = nn.weight_norm(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)))
    assert isinstance(net[1].weight, az.Parameter)
    with pytest.raises(az.PathError, match="no parameter with 2 or more dimensions"):
        nn.spectral_norm(net, "1.weight")


def test_wrong_arguments_are_refused():
    with pytest.raises(az.ShapeError, match="no axis 2"):
        nn.weight_norm(nn.Linear(3, 2), axis=2)
    with pytest.raises(az.ShapeError, match="no axis -3"):
        nn.spectral_norm(nn.Linear(3, 2), axis=-3)
    with pytest.raises(ValueError, match="at least 1"):
        nn.spectral_norm(nn.Linear(3, 2), n_power_iterations=0)
    with pytest.raises(az.StructureError, match="has to be the first"):
        nn.weight_norm(nn.spectral_norm(nn.Linear(3, 2)))
    with pytest.raises(az.StructureError, match="has no value yet"):
        nn.spectral_norm(nn.weight_norm(nn.Linear(3, 2)))


def test_the_singular_vectors_are_states_that_move_in_training_only():
    net = nn.spectral_norm(nn.Sequential(nn.Dense(4)))
    assert [path for path, _ in net.named_states()] == [
        "0.parametrizations.weight.0._u",
        "0.parametrizations.weight.0._v",
    ]
    net.settle_shapes(X)
    # Another weight, of which the vectors know nothing yet.
    net[0].weight.original.value = jnp.asarray(
        np.random.default_rng(1).normal(size=(4, 3)), "float32"
    )
    step = net[0].weight.steps[0]
    step._u.value, step._v.value = jnp.eye(4)[0], jnp.eye(3)[0]
    net.eval()
    net(X)
    assert step._u.value.tolist() == [1, 0, 0, 0]
    net.train()
    call = az.jit(net)
    for _ in range(50):
        call(X)
    u, s, vt = np.linalg.svd(np.asarray(net[0].weight.original.value))
    np.testing.assert_allclose(abs(u[:, 0] @ step._u.value), 1, rtol=1e-4)
    np.testing.assert_allclose(abs(vt[0] @ step._v.value), 1, rtol=1e-4)
    np.testing.assert_allclose(
        net.eval()[0].weight.value, net[0].weight.original.value / s[0], rtol=1e-4, atol=1e-6
    )


def test_a_plain_jit_would_lose_the_vectors():
    layer = nn.spectral_norm(nn.Linear(3, 2))
    with (
        pytest.raises(az.TraceError, match=r"parametrizations\.weight\.0\._u"),
        pytest.warns(az.StaleParameterWarning),
    ):
        jax.jit(lambda x: layer(x))(X)
    with pytest.raises(az.TraceError, match="return_state"):
        az.functional_call(layer, layer.state_dict(), X)
    _, state = az.functional_call(layer, layer.state_dict(), X, return_state=True)
    assert "parametrizations.weight.0._u" in state


@pytest.mark.parametrize("transform", [az.remat, az.vmap])
def test_the_vectors_are_carried_out_of_transforms(transform):
    layer = nn.spectral_norm(nn.Linear(3, 2))
    layer.weight.steps[0]._v.value = jnp.eye(3)[0]
    transform(layer)(X)
    assert layer.weight.steps[0]._v.value.tolist() != [1, 0, 0]


def test_it_is_undone_with_the_value_of_evaluation():
    layer = nn.spectral_norm(nn.Linear(3, 2))
    layer(X)
    value = layer.eval().weight.value
    az.unparametrize(layer.train())
    assert (layer.weight.value == value).all()


def test_a_normed_network_is_trained_and_saved(tmp_path):
    def build():
        return nn.spectral_norm(nn.weight_norm(nn.Sequential(nn.Dense(8), nn.Dense(1)), "0"), "1")

    net = build()
    trainer = az.Trainer(net, optax.adam(0.05), lambda output, y: ((output - y) ** 2).mean())
    losses = [float(trainer.step(X, X[:, :1])) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert trainer.traces == 1
    net.save(tmp_path / "net.safetensors")
    fresh = build()
    fresh.load(tmp_path / "net.safetensors")
    assert (fresh.eval()(X) == net.eval()(X)).all()


def test_a_norm_stands_on_top_of_another_parametrisation():
    layer = nn.spectral_norm(az.parametrize(_with_value(), "weight", jnp.tanh)).eval()
    np.testing.assert_allclose(jnp.linalg.norm(layer.weight.value, 2), 1, rtol=1e-3)


def _with_value():
    layer = nn.Linear(3, 2)
    layer.initialize(seed=0)
    return layer
