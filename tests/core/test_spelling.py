import copy
import pickle

import jax.numpy as jnp
import pytest

import ansatz as az
from ansatz import nn


@pytest.mark.parametrize(
    ("build", "hint"),
    [
        (lambda: nn.Dense(8, bias=False), "Dense has no option 'bias'; it is called 'use_bias'"),
        (lambda: nn.Linear(3, 8, use_bias=False), "it is called 'bias' here"),
        (lambda: nn.Embedding(9, 4, padding_idx=0), "it is called 'padding_index' here"),
        (
            lambda: nn.Conv2D(8, 3, strides=2),
            "Conv2D has no option 'strides'; it is called 'stride'",
        ),
        (lambda: nn.Conv2D(8, kernel=3), "did you mean 'kernel_size'"),
        (lambda: nn.Conv2D(8), "Conv2D needs kernel_size; it takes channels, kernel_size, stride"),
        (lambda: nn.Dropout(p=0.5), "it is called 'rate' here"),
        (lambda: nn.ReLU(inplace=True), "leave it out"),
        (lambda: nn.ReLU(True), "ReLU takes nothing by position"),
        (lambda: nn.LSTM(8, 32), "LSTM takes hidden_size by position, got 2 values; give others"),
        (lambda: nn.Identity(3), "Identity takes nothing by position"),
    ],
)
def test_an_option_of_another_library_is_refused_with_what_it_is_called_here(build, hint):
    with pytest.raises(TypeError) as caught:
        build()
    assert hint in str(caught.value)


def test_a_layer_of_ones_own_may_take_whatever_it_likes():
    class Open(nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__()
            self.taken = (args, dict(kwargs))

    class Made(nn.Module):
        def __new__(cls, size):
            return super().__new__(cls)

        def __init__(self, size):
            super().__init__()
            self.size = size

    assert Open(1, a=2).taken == ((1,), {"a": 2})
    assert Made(3).size == 3


def test_copies_are_made_without_arguments():
    layer = nn.Conv2D(8, 3)
    assert copy.deepcopy(layer).channels == 8
    assert pickle.loads(pickle.dumps(layer)).channels == 8


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda net: net(jnp.ones((2, 3)), training=False), "net.train() or net.eval()"),
        (lambda net: net(), "Dense: it is called with (x)"),
        (lambda net: net([[1.0, 2.0, 3.0]]), "Dense: an input is a list, not an array"),
        (lambda net: net((jnp.ones((2, 3)), 0)), "nn.Lambda(lambda y: y[0])"),
    ],
)
def test_a_call_that_cannot_be_is_explained(call, hint):
    with pytest.raises((TypeError, AttributeError)) as caught:
        call(nn.Dense(4))
    assert hint in "\n".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("layer", "args", "options", "message"),
    [
        (nn.Dense(4), (), {}, "Dense.forward: missing a required argument: 'x'"),
        (nn.Dense(4), (1, 2), {}, "Dense.forward: too many positional arguments"),
        (
            nn.BatchNorm(),
            (1,),
            {"z": 2},
            "BatchNorm.forward: got an unexpected keyword argument 'z'",
        ),
    ],
)
def test_a_wrong_call_is_told_in_words_of_forward(layer, args, options, message):
    with pytest.raises(TypeError) as caught:
        layer(*args, **options)
    assert str(caught.value) == message


def test_the_reason_stands_before_the_shapes_and_long_lists_are_cut():
    with pytest.raises(az.ShapeError) as caught:
        nn.LSTM(4, input_size=5, bidirectional=True)(jnp.ones((2, 3, 5)), lengths=jnp.ones(3, int))
    message = str(caught.value)
    assert message.index("lengths of LSTM has one") < message.index("its weight_ih_l0 has shape")
    assert message.endswith("; …)")
    with pytest.raises(AttributeError) as failed:
        nn.Dense(4)([0.0] * 100)
    assert "called with (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, …)" in "".join(
        failed.value.__notes__
    )


def test_an_error_within_a_layer_gets_no_hint_about_the_call():
    def wrong(x):
        return x.shape.dtype

    with pytest.raises(AttributeError) as caught:
        nn.Lambda(wrong)(jnp.ones(2))
    assert not any("input" in note for note in caught.value.__notes__)


def test_attributes_of_other_libraries_are_errors_that_say_what_to_write():
    net = nn.Sequential(nn.Dense(3))
    with pytest.raises(AttributeError, match=r"here it is net\.save\(path\)"):
        _ = net.save_parameters
    with pytest.raises(AttributeError, match=r"here it is p\.value = array"):
        net[0].weight.set_data(jnp.ones(3))
    with pytest.raises(AttributeError, match=r"here it is p\.trainable"):
        net[0].weight.requires_grad = False
    with pytest.raises(AttributeError, match="did you mean 'trainable'"):
        _ = net[0].weight.trainabel
    assert not hasattr(net[0].weight, "requires_grad")
    assert net[0].weight.trainable


def test_a_property_that_fails_says_so_itself():
    class Odd(az.Parameter):
        @property
        def twice(self):
            return self.value.missing

    with pytest.raises(AttributeError, match="missing"):
        _ = Odd((2,), init="ones").twice
