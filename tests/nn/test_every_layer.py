"""What holds for every layer, whatever it computes."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from tests.nn.reference import close


class OutputOfLSTM(nn.LSTM):
    """The output alone, without the last state."""

    def forward(self, x):
        return super().forward(x)[0]


class OutputOfGRU(nn.GRU):
    def forward(self, x):
        return super().forward(x)[0]


class Mixing(nn.Module):
    """A cell of one's own, whose layers write states at each step."""

    def __init__(self):
        super().__init__()
        self.mix, self.drop = nn.Dense(4), nn.Dropout(0.5)

    def initial_state(self, x):
        return jnp.zeros((len(x), 4), x.dtype)

    def forward(self, x, state):
        state = self.drop(jnp.tanh(self.mix(x) + state))
        return state, state


class OutputOfRecurrent(nn.Recurrent):
    def forward(self, x):
        return super().forward(x)[0]


DEFERRED = {
    "Dense": lambda: nn.Dense(3),
    "Dense with flattening": lambda: nn.Dense(3, flatten=True),
    "Linear": lambda: nn.Linear(None, 3),
    "Residual with a layer": lambda: nn.Residual(nn.Dense(4), activation="relu"),
    "PReLU": lambda: nn.PReLU(None),
    "BatchNorm": nn.BatchNorm,
    "BatchNorm without scale": lambda: nn.BatchNorm(use_weight=False),
    "BatchNorm without statistics": lambda: nn.BatchNorm(track_running_stats=False),
    "InstanceNorm": lambda: nn.InstanceNorm(use_weight=True, track_running_stats=True),
    "GroupNorm": lambda: nn.GroupNorm(2),
    "RMSNorm": nn.RMSNorm,
    "LayerNorm": nn.LayerNorm,
    "LayerNorm over two axes": lambda: nn.LayerNorm((None, None)),
    "Dense with weight norm": lambda: nn.weight_norm(nn.Dense(3)),
    "Dense with spectral norm": lambda: nn.spectral_norm(nn.Dense(3)),
    "Dense with adapters": lambda: az.lora(nn.Dense(3), "weight", rank=2, freeze=False),
    "Conv1D": lambda: nn.Conv1D(4, 2, groups=2),
    "Conv1d": lambda: nn.Conv1d(None, 3, 2, layout="NWC"),
    "ConvTranspose1D": lambda: nn.ConvTranspose1D(3, 2, stride=2),
    "SeparableConv2D": lambda: nn.SeparableConv2D(3, 2),
    "MultiHeadAttention": lambda: nn.MultiHeadAttention(4, 2, causal=True),
    "LearnedPositions": lambda: nn.LearnedPositions(5),
    "Stack": lambda: nn.Stack(lambda: nn.Dense(4), 2),
    "LSTM": lambda: OutputOfLSTM(3, num_layers=2),
    "GRU in both directions": lambda: OutputOfGRU(3, bidirectional=True),
    "Recurrent": lambda: OutputOfRecurrent(Mixing()),
}
SETTLED = {
    "Residual": lambda: nn.Residual(nn.Tanh()),
    "Concurrent": lambda: nn.Concurrent(nn.Tanh(), nn.ReLU()),
    "DropPath": lambda: nn.DropPath(0.5),
    "RReLU": nn.RReLU,
    "GLU": nn.GLU,
    "Embedding": lambda: nn.Embedding(7, 4),
    "Dropout": lambda: nn.Dropout(0.5),
    "GaussianNoise": lambda: nn.GaussianNoise(0.5),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(3),
    "ReLU": nn.ReLU,
    "Flatten": nn.Flatten,
    "Identity": nn.Identity,
    "Lambda": lambda: nn.Lambda(jnp.sin),
    "MaxPool1D": nn.MaxPool1D,
    "AvgPool1D": nn.AvgPool1D,
    "AdaptiveAvgPool1D": lambda: nn.AdaptiveAvgPool1D(2),
    "SinusoidalPositions": nn.SinusoidalPositions,
    "Upsample": lambda: nn.Upsample(scale=2, mode="linear"),
    "PixelShuffle": lambda: nn.PixelShuffle(2),
    "Pad": lambda: nn.Pad(1, mode="reflect"),
}
LAYERS = DEFERRED | SETTLED


def input_for(layer):
    if isinstance(layer, nn.Embedding):
        return jnp.arange(6).reshape(2, 3)
    shape = (2, 3, 2, 4) if isinstance(layer, nn.SeparableConv2D) else (2, 3, 4)
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), "float32")


@pytest.fixture(params=LAYERS)
def build(request):
    return LAYERS[request.param]


@pytest.fixture(params=DEFERRED)
def build_deferred(request):
    return DEFERRED[request.param]


FIRST_CALLS = {
    "eager": lambda net, x: net(x),
    "az.jit": lambda net, x: az.jit(lambda net, x: net(x))(net, x),
    "az.grad": lambda net, x: az.grad(lambda net, x: net(x).sum(), 1)(net, x),
    "az.value_and_grad in az.jit": lambda net, x: az.jit(
        az.value_and_grad(lambda net, x: net(x).sum())
    )(net, x),
    "az.remat": lambda net, x: az.remat(net)(x),
    "dry run": lambda net, x: net.settle_shapes(jax.ShapeDtypeStruct(x.shape, x.dtype)),
}


@pytest.mark.parametrize("first_call", FIRST_CALLS)
def test_shapes_are_found_by_the_first_call(build_deferred, first_call):
    net = nn.Sequential(build_deferred())
    x = input_for(net[0])
    assert any(cell.is_deferred for cell in net.parameters())
    FIRST_CALLS[first_call](net, x)
    assert not any(cell.is_deferred for cell in net.parameters())
    assert not any(state.is_deferred for _, state in net.named_states())


def test_values_do_not_depend_on_when_shapes_become_known(build_deferred):
    states = []
    for first_call in ("eager", "az.jit", "dry run"):
        net = nn.Sequential(build_deferred()).eval()
        net.initialize(seed=5)
        FIRST_CALLS[first_call](net, input_for(net[0]))
        states.append(net.state_dict())
    for state in states[1:]:
        for path, value in state.items():
            assert (value == states[0][path]).all(), path


def test_compiled_and_eager_calls_agree(build):
    layer = build().eval()
    x = input_for(layer)
    close(az.jit(layer)(x), layer(x), atol=1e-6)


def test_a_call_with_another_batch_size_is_accepted(build):
    layer = build().eval()
    x = input_for(layer)
    y = layer(x)
    assert layer(jnp.concatenate([x, x])).shape == (2 * y.shape[0], *y.shape[1:])


def test_a_call_with_another_width_names_the_layer(build_deferred):
    net = nn.Sequential({"odd": build_deferred()})
    x = input_for(net[0])
    net(x)
    with pytest.raises(az.ShapeError, match=r"layer 'odd[.']"):
        net(jnp.concatenate([x, x], -1))


def test_a_failing_call_settles_nothing(build_deferred):
    def fail(x):
        raise RuntimeError("later")

    net = nn.Sequential(build_deferred(), nn.Lambda(fail))
    with pytest.raises(RuntimeError, match="later"):
        net(input_for(net[0]))
    assert any(cell.is_deferred for cell in net.parameters())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_computes_the_same(build, copied):
    layer = build().eval()
    if isinstance(layer, nn.Lambda):
        pytest.skip("a function decides itself whether it can be pickled")
    x = input_for(layer)
    y = layer(x)
    close(copied(layer)(x), y)


def test_switching_to_evaluation_compiles_once_more_and_back_not_at_all(build):
    layer = build()
    x = input_for(layer)
    step = az.jit(lambda net, x: net(x))
    step(layer, x)
    traced = step.traces
    for mode in (False, True, False, True):
        layer.train(mode)
        step(layer, x)
    assert step.traces <= traced + 1


def test_two_layers_of_one_kind_share_a_compiled_program(build):
    first, second = build(), build()
    x = input_for(first)
    step = az.jit(lambda net, x: net(x))
    step(first, x)
    traced = step.traces
    second.settle_shapes(x)
    step(second, x)
    assert step.traces == traced


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_goes_in_and_comes_out(build, dtype):
    layer = build().eval()
    if isinstance(layer, nn.Embedding):
        pytest.skip("takes integers")
    layer.settle_shapes(input_for(layer))
    layer.collect_params().cast(dtype)
    assert layer(input_for(layer).astype(dtype)).dtype == dtype


def test_a_call_is_a_pure_function_of_the_state(build):
    layer = build().eval()
    x = input_for(layer)
    y = layer(x)
    close(jax.jit(lambda state, x: az.functional_call(layer, state, x))(layer.state_dict(), x), y)


# Layers that choose their way by sizes, and inputs whose sizes are open when they are exported.
OPEN_SIZES = {
    "Dense": (lambda: nn.Dense(3, in_units=4), "n,4"),
    "Dense, of sequences": (lambda: nn.Dense(3, in_units=4), "n,t,4"),
    "Conv2D": (lambda: nn.Conv2D(32, 3, padding=1, in_channels=32), "n,h,w,32"),
    "Conv2D, open batch": (lambda: nn.Conv2D(32, 3, padding=1, in_channels=32), "n,16,16,32"),
    "Conv2D, one channel": (lambda: nn.Conv2D(4, 3, padding=1, in_channels=1), "n,h,w,1"),
    "Conv2D, by channel": (lambda: nn.Conv2D(4, 3, groups=4, padding=1, in_channels=4), "n,h,w,4"),
    "Conv2D, of cells": (lambda: nn.Conv2D(4, 1, stride=2, in_channels=4), "n,h,w,4"),
    "MaxPool2D": (lambda: nn.MaxPool2D(3, 2, padding=1), "n,h,w,4"),
    "AvgPool2D": (lambda: nn.AvgPool2D(3, 2, padding=1, count_include_pad=False), "n,h,5,4"),
    "Upsample": (lambda: nn.Upsample(scale=2, mode="linear"), "n,h,w,4"),
    "Upsample, to a size": (lambda: nn.Upsample(size=5, mode="cubic", align_corners=True), "n,h,4"),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), "n,h,w,4"),
    "Pad": (lambda: nn.Pad(((1, -1),)), "n,t,4"),
    "GlobalMaxPool2D": (nn.GlobalMaxPool2D, "n,h,w,4"),
    "BatchNorm": (lambda: nn.BatchNorm(4, track_running_stats=False), "n,t,4"),
    "InstanceNorm": (lambda: nn.InstanceNorm(4), "n,t,4"),
}


@pytest.mark.parametrize("name", OPEN_SIZES)
def test_a_layer_and_its_gradient_are_exported_for_open_sizes(name):
    build, sizes = OPEN_SIZES[name]
    layer = build()
    layer.initialize(seed=0)
    state = layer.state_dict()
    x = jax.ShapeDtypeStruct(jax.export.symbolic_shape(sizes), "float32")

    def call(state, x):
        return az.functional_call(layer, state, x)

    def grads(state, x):
        return jax.grad(lambda state, x: call(state, x).sum(), (0, 1))(state, x)

    exported = jax.export.export(jax.jit(call))(state, x)
    jax.export.export(jax.jit(grads))(state, x)
    assert str(exported.out_avals[0].shape[0]) == "n"


def test_averages_at_open_sizes_leave_padding_out_as_well():
    build, sizes = OPEN_SIZES["AvgPool2D"]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5, 4)), "float32")
    symbols = jax.ShapeDtypeStruct(jax.export.symbolic_shape(sizes), "float32")
    close(jax.export.export(jax.jit(build()))(symbols).call(x), build()(x))
