import copy
import copyreg
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ansatz as az
from ansatz import init, nn
from ansatz.core import spelling


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
        (lambda: nn.Dense(8, param_dtype="float32"), "it is called 'dtype' here"),
        (lambda: nn.MultiHeadAttention(8, 2, key_dim=4), "it is called 'head_units' here"),
        (lambda: nn.MultiHeadAttention(8, 2, in_features=8), "leave it out: the first input"),
        (lambda: nn.BatchNorm(in_channels=8), "it is called 'channels' here"),
        (lambda: nn.LSTM(8, layout="NTC"), "it is batch_first= of recurrent layers"),
        (lambda: nn.LSTM(8, activation="relu"), "what it computes is fixed"),
        (lambda: nn.RNN(8, activation="relu"), "it is called 'nonlinearity' here"),
        (lambda: nn.LSTM(8, return_sequences=True), "y[:, -1] is the last"),
        (lambda: nn.weight_norm(nn.Dense(8), dim=0), "weight_norm has no option 'dim'; it is"),
        (lambda: az.lora(nn.Dense(8), "weight", r=4), "it is called 'rank' here"),
        (lambda: az.lora(nn.Dense(8), "weight", lora_alpha=4), "it is called 'alpha' here"),
        (lambda: az.lora(nn.Dense(8), target_modules="*"), "it is called 'select' here"),
        (lambda: az.jit(abs, static_argnums=0), "are told by name: static_argnames='k'"),
        (lambda: init.Normal(std=0.1), "Normal has no option 'std'; it is called 'sigma' here"),
        (lambda: init.Normal(stddev=0.1), "it is called 'sigma' here"),
        (lambda: init.TruncatedNormal(stddev=0.1), "it is called 'std' here"),
        (lambda: init.Xavier(gain=2), "magnitude= here: 3 * gain**2"),
        (lambda: nn.Identity(3), "Identity takes nothing by position"),
        (lambda: az.Parameter("w", shape=(3,)), "Parameter got shape twice, by position and by na"),
        (lambda: az.Parameter((3,), lr_mult=0.1), "optax.multi_transform, or optax.masked"),
        (lambda: az.Parameter((3,), allow_deferred_init=True), "None in the shape is a size"),
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


class ReducedAsBefore(nn.Dense):
    """Pickled as by older versions, by `cls.__new__(cls)` and the same state."""

    def __reduce__(self):
        return copyreg.__newobj__, (type(self),), self.__getstate__()


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickles_of_older_versions_are_read(protocol):
    layer = pickle.loads(pickle.dumps(ReducedAsBefore(3, in_units=2), protocol))
    assert layer(jnp.ones((1, 2))).shape == (1, 3)


def test_a_class_may_have_other_constructors():
    class Net(nn.Module):
        def __init__(self, units):
            super().__init__()
            self.dense = nn.Dense(units)

        @classmethod
        def around(cls, dense):
            net = cls.__new__(cls)
            net.dense = dense
            return net

    assert [name for name, _ in Net.around(nn.Dense(2)).named_children()] == ["dense"]
    with pytest.raises(TypeError, match=r"Net\.__init__\(\) missing 1 .*'units'"):
        Net()


def test_a_base_class_may_be_shared_by_classes_that_need_other_options():
    class Small(nn.Conv2D):
        def __init__(self, channels):
            super().__init__()

    with pytest.raises(TypeError, match="'channels' and 'kernel_size'"):
        Small(3)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda net: net(jnp.ones((2, 3)), training=False), "net.train() or net.eval()"),
        (lambda net: net(jnp.ones((2, 3)), tgt_mask=None), "mask=~tgt_mask"),
        (lambda net: net(jnp.ones((2, 3)), is_causal=True), "option of the layer: causal=True"),
        (lambda net: net(jnp.ones((2, 3)), hx=None), "hx: it is state= here"),
        (lambda net: net(jnp.ones((2, 3)), initial_state=None), "it is state= here"),
        (lambda net: net(jnp.ones((2, 3)), seq_lengths=None), "it is lengths= here"),
        (lambda net: net(jnp.ones((2, 3)), sequence_length=None), "it is lengths= here"),
        (lambda net: net(jnp.ones((2, 3)), use_running_average=True), "net.eval() or net.train()"),
        (lambda net: net(jnp.ones((2, 3)), decode=True), "nn.decoding(net, batch, length)"),
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


def code_in(hint):
    """The statements in a sentence: what stands between commas and the like, and is one."""
    depth, parts = 0, [""]
    for word in re.split(r"([()]|[,;:] | and | or )", hint):
        depth += (word == "(") - (word == ")")
        if depth == 0 and re.fullmatch("[,;:] | and | or ", word):
            parts.append("")
        else:
            parts[-1] += word
    names = "az|init|jax|net|numpy|p|self"
    return [part for part in parts if re.match(rf"({names})\.(\S+$|.*\)$|\S+ = )", part)]


# They want 64 bits, a path, a single number.
_OF_A_KIND = {"double", "get_layer", "item"}


def test_the_code_in_hints_about_attributes_runs(tmp_path):
    x, y, path = jnp.ones((2, 4)), jnp.ones((2, 3)), str(tmp_path / "net.safetensors")
    names = {"az": az, "init": init, "jax": jax, "numpy": np, "optax": optax, "module": nn.ReLU()}
    names |= {"x": x, "y": y, "batches": [(x, y)], "loss": nn.l2_loss, "f": lambda net, x: net(x)}
    names |= {"loss_fn": lambda net, x, y: nn.l2_loss(net(x), y), "path": path, "name": "act"}
    names |= {"select": "0.*", "shape": (3, 4), "dtype": "float32", "low": -1, "high": 1}
    names |= {"array": np.ones((3, 4), "f4"), "number": 2.0, "value": 0}
    nn.Sequential(nn.Dense(3, 4)).save(path)
    run = 0
    for elsewhere, here in spelling._ATTRIBUTES.items():
        net = nn.Sequential(nn.Dense(3, 4))
        own = {"net": net, "p": net[0].weight, "self": nn.Module()}
        values = dict.fromkeys(("state", "values", "mapping"), net.state_dict())
        for code in [] if elsewhere in _OF_A_KIND else code_in(here):
            exec(code, names | own | values)
            run += 1
    assert run > 60


@pytest.mark.parametrize(
    ("read", "here"),
    [
        (lambda net: net.hybridize, "az.jit(f)(net, x)"),
        (lambda net: net.init, "net.initialize(seed=0)"),
        (lambda net: net.float, "net.collect_params().cast('float32')"),
        (lambda net: net.reset_ctx, "not needed: values are on JAX's default device"),
        (lambda net: net.collect_params().reset_ctx, "not needed: values are on"),
        (lambda net: net.begin_state, "not needed: layer(x) begins with zeros"),
        (lambda net: net.kernel, "weight, with the outputs"),
        (lambda net: net.cuda, "not needed: values are on JAX's default device"),
        (lambda net: net.half, "net.collect_params().cast('float16')"),
        (lambda net: net.buffers, "net.named_states()"),
        (lambda net: net.load_weights, "net.load(path)"),
        (lambda net: net.weights, "net.collect_params(); did you mean 'weight'?"),
        (lambda net: net.weight.list_grad, "p.grad"),
        (lambda net: net.weight.numel, "p.size"),
        (lambda net: setattr(net.weight, "lr_mult", 0.1), "optax.multi_transform, or optax.mas"),
        (lambda net: net.collect_params().load, "net.load(path)"),
        (lambda net: net.weight.data.normal_, "init.normal_(p)"),
        (lambda net: net.weight.data.fill_, "p.data[:] = number"),
        (lambda net: net.weight.zero_, "init.zeros_(p)"),
    ],
)
def test_the_hint_is_a_sentence(read, here):
    net = nn.Dense(3, in_units=2)
    with pytest.raises(AttributeError) as caught:
        read(net)
    assert f"; here it is {here}" in str(caught.value)


def test_a_property_that_fails_says_so_itself():
    class Odd(az.Parameter):
        @property
        def twice(self):
            return self.value.missing

    with pytest.raises(AttributeError, match="missing"):
        _ = Odd((2,), init="ones").twice


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda net: net.initialize(ctx=None), "values are made on JAX's default device"),
        (lambda net: net.initialize(device="cpu"), "values are made on JAX's default device"),
        (lambda net: net.initialize(force_init=True), "it is called 'force_reinit' here"),
        (
            lambda net: net.initialize(0, 1),
            "settles shapes: initialize(seed=0, example=x)",
        ),
        (
            lambda net: net.initialize(jnp.ones((2, 3))),
            "float32[2, 3]; an input that settles shapes",
        ),
        (lambda net: net.initialize(3), "one number everywhere is init.Constant(3)"),
        (lambda net: net.initialize(seed=1.5), "a seed is a whole number, such as 0, got 1.5 of"),
        (lambda net: net.initialize(seed=jax.random.key(0)), "keys of JAX are not needed"),
        (lambda net: net.collect_params().initialize(ctx=None), "on JAX's default device"),
        (lambda net: net.weight.initialize(ctx=None), "on JAX's default device"),
        (lambda net: net.apply({}, jnp.ones((2, 3))), "az.functional_call(net, state, x)"),
        (lambda net: net.apply({}), "got a dict with nothing; the pure function"),
        (lambda net: net.apply(), "apply needs function"),
        (lambda net: net.weight.data(), "data of parameter 'weight' is an attribute, not a method"),
        (lambda net: az.seed("a"), "a seed is a whole number, such as 0, got 'a' of type str"),
    ],
)
def test_a_call_of_another_library_says_what_to_write(call, told):
    with pytest.raises(TypeError) as caught:
        call(nn.Dense(3, in_units=2))
    assert told in str(caught.value)


def test_a_shape_in_the_place_of_an_example_is_noticed():
    with pytest.raises(TypeError) as caught:
        nn.Dense(3).initialize(example=(2, 5))
    assert "example=jax.ShapeDtypeStruct((2, 5), 'float32')" in "".join(caught.value.__notes__)
    with pytest.raises(AttributeError) as failed:
        nn.Dense(3)(None)
    notes = "".join(failed.value.__notes__)
    assert "its input is None" in notes
    assert "called with (None)" in notes
