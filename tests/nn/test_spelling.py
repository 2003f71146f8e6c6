import inspect
import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn
from ansatz.core import spelling as options
from ansatz.init import spelling as initialisers
from ansatz.nn import spelling
from tests.nn.reference import close

X = jnp.ones((2, 3))


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("CrossEntropyLoss", "nn.softmax_cross_entropy"),
        ("ModuleList", "a plain list"),
        ("PixelShuffle2D", "nn.PixelShuffle(factor)"),
        ("UpSampling2D", 'nn.Upsample(scale=2), with mode="linear"'),
        ("UpsamplingBilinear2d", 'nn.Upsample(scale=2, mode="linear", align_corners=True'),
        ("ReflectionPad2D", "nn.ReflectionPad2d"),
        ("ZeroPadding2D", "nn.Pad(1)"),
        ("Cropping2D", "nn.Pad(-1)"),
        ("Reshape", "nn.Unflatten(1, shape)"),
        ("Bidirectional", "bidirectional=True"),
        ("ConvLSTM2D", "nn.Recurrent(nn.ConvLSTMCell(channels, 3))"),
        ("SimpleRNN", "nn.RNN"),
        ("TimeDistributed", "not needed"),
        ("compact", "layers made in __init__"),
        ("Dropout2d", "nn.Dropout(rate, axes=(2, 3))"),
        ("SpatialDropout1D", "nn.Dropout(rate, axes=...)"),
        ("Parameter", "az.Parameter"),
        ("Hardswish", "nn.HardSwish"),
        ("LazyLinear", "nn.Dense"),
        ("LazyConv2d", "nn.Conv2D"),
        ("Conv2DTranspose", "nn.ConvTranspose2D"),
        ("LayerNormalization", "nn.LayerNorm"),
        ("GlobalAveragePooling2D", "nn.GlobalAvgPool2D"),
    ],
)
def test_a_name_of_another_library_is_an_error_with_its_name_here(name, here):
    with pytest.raises(AttributeError) as caught:
        getattr(nn, name)
    assert f"has no attribute {name!r}; here it is {here}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # ‖x‖ = 5 and ‖y‖ = 2; for a row of zeros PyTorch divides by its eps.
        ("CosineSimilarity", [6 / 10, 0]),
        ("PairwiseDistance", [math.hypot(3 - 2 + 1e-6, 4 + 1e-6), math.hypot(2 + 1e-6, 1e-6)]),
    ],
)
def test_the_line_to_write_computes_what_the_layer_computes(name, expected):
    x, y = jnp.array([[3.0, 4.0], [2.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, 0.0]])
    line = spelling._ELSEWHERE[name]
    close(eval(line, {"x": x, "y": y, "jnp": jnp}), np.array(expected))


def test_other_names_get_a_near_one_or_none():
    with pytest.raises(AttributeError, match="did you mean 'Dropout'"):
        nn.Droput  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute '__wrapped__'$"):
        nn.__wrapped__  # noqa: B018
    assert not hasattr(nn, "MSELoss")


def test_hints_name_only_what_is_there():
    for theirs, ours in spelling._ELSEWHERE.items():
        assert theirs not in nn.__all__
        assert set(re.findall(r"(?<!jax\.)\bnn\.(\w+)", ours)) <= set(nn.__all__)


def test_options_are_hinted_at_only_if_some_layer_has_them():
    taken = {
        name
        for found in (
            *(getattr(nn, name) for name in nn.__all__),
            *(getattr(init, name) for name in init.__all__),
            *(
                az.jit,
                az.lora,
                az.grad,
                az.backward,
                az.Parameter,
                az.Trainer,
                az.Trainer.fit,
                az.train.batches,
            ),
            *(az.Module.initialize, az.Module.load, az.Module.save, az.checkpoint.convert),
        )
        if callable(found)
        for name in inspect.signature(
            found.__init__ if inspect.isclass(found) else found
        ).parameters
    }
    assert {ours for many in options._OPTIONS.values() for ours in many} <= taken


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.softmax(X, dim=-1), "softmax has no option 'dim'; it is called 'axis' here"),
        (lambda: nn.relu(X, inplace=True), "relu has no option 'inplace'; leave it out"),
        (lambda: nn.gelu(X, approximte="tanh"), "did you mean 'approximate'"),
        (lambda: nn.l2_loss(X, X, size_average=False), "it is reduction=: 'mean', 'sum'"),
        (
            lambda: nn.softmax_cross_entropy(X, X, weight=X),
            "'weight'; it is called 'class_weights' here",
        ),
        (lambda: nn.l1_loss(X, X, "sum"), "got 3 values; give others by name: weights, reduction"),
    ],
)
def test_an_option_of_a_function_elsewhere_is_an_error_with_its_name_here(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("module", "name", "here"),
    [
        (az, "no_grad", "az.grad(f)"),
        (az, "inference_mode", "net.eval()"),
        (az, "manual_seed", "az.seed"),
        (az, "optim", "optax"),
        (az, "Rngs", "not needed: net.initialize(seed=0)"),
        (az, "Dense", "az.nn.Dense"),
        (init, "Zero", "init.Zeros()"),
        (init, "One", "init.Ones()"),
        (init, "he_normal", 'init.Kaiming(distribution="truncated_normal")'),
        (init, "XavierNormal", 'init.Xavier("gaussian", magnitude=1)'),
        (init, "normal", "init.Normal"),
    ],
)
def test_names_at_the_top_and_of_initialisers_are_hinted_at_as_well(module, name, here):
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert here in str(caught.value)


def test_initialisers_that_are_hinted_at_exist():
    for theirs, ours in initialisers._ELSEWHERE.items():
        assert theirs not in init.__all__
        for call in re.findall(r"\binit\.\w+\([^()]*\)", ours):
            assert isinstance(eval(call, {"init": init}), init.Initializer)


def test_a_class_that_is_given_nothing_names_itself_and_what_it_needs():
    with pytest.raises(
        TypeError, match="MaxPool2d needs kernel_size; it takes kernel_size, stride"
    ):
        nn.MaxPool2d()
    for name in nn.__all__:
        layer = getattr(nn, name)
        if not isinstance(layer, type) or not issubclass(layer, nn.Module):
            continue
        takes = [p for p in inspect.signature(layer).parameters.values() if p.kind < p.VAR_KEYWORD]
        needs = [p.name for p in takes if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
        if needs:
            with pytest.raises(TypeError) as caught:
                layer()
            told = re.findall(r"\w+", str(caught.value))
            assert {name, *needs} <= set(told), str(caught.value)


def test_what_is_not_obvious_is_given_by_name():
    with pytest.raises(TypeError, match="Dense takes units, in_units by position, got 3 values; g"):
        nn.Dense(3, 4, "relu")
    for layer in (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm1d):
        named = [
            name
            for name, p in inspect.signature(layer.__init__).parameters.items()
            if p.kind is p.KEYWORD_ONLY
        ]
        assert {"params", "dtype"} <= set(named)
