"""Transformer layers and stacks of them; their numbers are compared in tests/parity."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import close


def rand(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def encoder(n=3, **options):
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(None, 2, 6), n, **options)


def test_the_layers_of_a_stack_start_different():
    net = encoder()
    net.initialize(seed=0, example=rand(1, 3, 4))
    for path in ("self_attn.in_proj_weight", "linear1.weight", "linear2.bias"):
        values = [layer.get_parameter(path).value for layer in net.layers]
        assert all((a != b).any() for a, b in itertools.pairwise(values)), path


def test_a_layer_that_has_values_is_not_copied():
    layer = nn.TransformerEncoderLayer(4, 2, 6)
    layer.initialize()
    with pytest.raises(az.StructureError, match=r"has values already: self_attn\.in_proj_weight"):
        nn.TransformerEncoder(layer, 2)
    with pytest.raises(TypeError, match=r"takes a layer, .*nn\.Stack"):
        nn.TransformerEncoder(lambda: layer, 2)


def test_initial_values_of_the_dense_layers_are_those_of_linear():
    layer = nn.TransformerEncoderLayer(None, 2, 400)
    layer.initialize(seed=0, example=rand(1, 2, 100))
    for dense, bound in ((layer.linear1, 1 / 10), (layer.linear2, 1 / 20)):
        for parameter in (dense.weight, dense.bias):
            assert 0.9 * bound < float(abs(parameter.value).max()) <= bound


@pytest.mark.parametrize("build", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_length_first_is_batch_first_with_swapped_axes(build):
    layer, swapped = build(4, 2, 6).eval(), build(4, 2, 6, batch_first=False).eval()
    args = [rand(2, 5, 4)]
    args += [rand(2, 3, 4, seed=1)] if build is nn.TransformerDecoderLayer else []
    y = layer(*args)
    swapped.load_state_dict(layer.state_dict())
    close(jnp.swapaxes(swapped(*(jnp.swapaxes(x, 0, 1) for x in args)), 0, 1), y, atol=1e-6)


def test_causal_is_a_mask_of_all_that_comes_later():
    layer = nn.TransformerEncoderLayer(4, 2, 6).eval()
    causal = nn.TransformerEncoderLayer(4, 2, 6, causal=True).eval()
    x = rand(2, 5, 4)
    causal.load_state_dict(layer.state_dict())
    mask = jnp.tril(jnp.ones((5, 5), bool))
    close(causal(x), layer(x, mask=mask), atol=1e-6)
    close(causal(x), layer(x, mask=jnp.where(mask, 0.0, -jnp.inf)), atol=1e-6)
    assert (layer(x) != layer(x, mask=mask)).any()


def test_masks_reach_every_layer_and_padding_is_not_seen():
    net = encoder(norm=nn.LayerNorm()).eval()
    x, real = rand(1, 5, 4), jnp.array([[True, True, True, False, False]])
    close(net(x, key_mask=real)[:, :3], net(x[:, :3]), atol=1e-5)
    scanned = encoder(norm=nn.LayerNorm(), unroll=False).eval()
    scanned.load_state_dict(net.state_dict())
    close(az.jit(scanned)(x, key_mask=real), net(x, key_mask=real), atol=1e-5)


@pytest.mark.parametrize("activation", [jnp.tanh, nn.PReLU()])
def test_the_activation_may_be_a_function_or_a_layer(activation):
    layer = nn.TransformerEncoderLayer(4, 2, 6, activation=activation).eval()
    y = layer(rand(1, 3, 4))
    close(az.jit(layer)(rand(1, 3, 4)), y, atol=1e-6)
    assert ("activation.weight" in layer.collect_params()) is isinstance(activation, nn.PReLU)


def test_the_first_call_may_be_compiled_and_drops_something_new_each_time():
    net, x = encoder(1), rand(2, 3, 4)
    step = az.jit(lambda net, x: net(x))
    assert (step(net, x) != step(net, x)).any()
    assert (net.eval()(x) == net(x)).all()


@pytest.mark.parametrize("build", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_values_do_not_depend_on_when_the_width_becomes_known(build):
    declared, deferred = build(4, 2, 6), build(None, 2, 6)
    declared.initialize(seed=5)
    deferred.initialize(seed=5)
    assert all(p.is_deferred for path, p in deferred.named_parameters() if "linear1.b" not in path)
    args = [rand(2, 3, 4)] * (2 if build is nn.TransformerDecoderLayer else 1)
    deferred.settle_shapes(*args)
    for path, value in declared.state_dict().items():
        assert (value == deferred.state_dict()[path]).all(), path


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="embed_dim=5 among 2 heads"):
        nn.TransformerEncoderLayer(5, 2)
    with pytest.raises(ValueError, match="no activation is called 'rleu'"):
        nn.TransformerEncoderLayer(4, 2, activation="rleu")
    with pytest.raises(TypeError, match="d_model is a whole number"):
        nn.TransformerEncoderLayer(4.5, 2)
    with pytest.raises(az.ShapeError, match=r"'linear1.weight' has shape \(2048, 4\)"):
        nn.TransformerDecoderLayer(4, 2)(rand(1, 2, 6), rand(1, 2, 6))
    with pytest.raises(az.ShapeError, match="widths 4, 6 and 6"):
        nn.TransformerDecoderLayer(4, 2)(rand(1, 2, 4), rand(1, 2, 6))


def test_a_layer_is_printed_with_what_differs_from_the_defaults():
    layer = nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", norm_first=True)
    text = repr(layer)
    assert "activation=gelu, norm_first=True" in text
    assert "(self_attn): MultiheadAttention(4, num_heads=2, batch_first=True" in text
