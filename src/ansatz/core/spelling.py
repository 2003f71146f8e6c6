"""What other libraries call things: hints for options and attributes that Ansatz spells otherwise.

A newcomer writes what is written elsewhere. Nothing here makes that work, because one thing has one
name; it makes the error say which. The names of layers and losses are in `nn/spelling.py`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from ansatz.core.errors import did_you_mean

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "activation": ("nonlinearity",),
    "affine": ("use_weight",),
    "alpha": ("negative_slope",),
    "bias": ("use_bias",),
    "bias_initializer": ("bias_init",),
    "center": ("use_bias",),
    "criterion": ("loss",),
    "data_format": ("layout",),
    "decoder_layer": ("layer",),
    "differentiable": ("trainable",),
    "dilation_rate": ("dilation",),
    "dim": ("axis",),
    "distance_function": ("distance",),
    "donate_argnums": ("donate",),
    "dtype": ("cast",),
    "elementwise_affine": ("use_weight",),
    "embed_dim": ("units",),
    "embedding_dim": ("features",),
    "embeddings_initializer": ("weight_init",),
    "encoder_layer": ("layer",),
    "epsilon": ("eps",),
    "eval_data": ("validate",),
    "features": ("units", "channels", "out_features"),
    "filename": ("path",),
    "filters": ("channels",),
    "force_init": ("force_reinit",),
    "i2h_weight_initializer": ("weight_init",),
    "go_backwards": ("reverse",),
    "in_channels": ("channels",),
    "in_features": ("in_units",),
    "initializer": ("init",),
    "input_dim": ("num_embeddings", "in_units"),
    "interpolation": ("mode",),
    "kernel_init": ("weight_init",),
    "kernel_initializer": ("weight_init",),
    "key_dim": ("head_units",),
    "log_input": ("from_logits",),
    "log_target": ("log_targets",),
    "lora_alpha": ("alpha",),
    "loss_fn": ("loss",),
    "model": ("net",),
    "num_channels": ("channels",),
    "num_epochs": ("epochs",),
    "num_features": ("channels",),
    "num_groups": ("groups",),
    "out_channels": ("channels",),
    "out_features": ("units",),
    "output_dim": ("features",),
    "p": ("rate", "power"),
    "padding_idx": ("padding_index",),
    "padding_mode": ("mode",),
    "param_dtype": ("dtype",),
    "pool_size": ("kernel_size",),
    "pos_weight": ("positive_weight",),
    "r": ("rank",),
    "requires_grad": ("trainable",),
    "rules": ("init",),
    "sample_weight": ("weights",),
    "scale": ("use_weight",),
    "sigma": ("std",),
    "start_dim": ("start_axis",),
    "std": ("sigma",),
    "stddev": ("sigma", "std"),
    "strides": ("stride",),
    "target_modules": ("select",),
    "train_data": ("batches",),
    "unflattened_size": ("shape",),
    "units": ("hidden_size", "out_features"),
    "use_bias": ("bias",),
    "use_scale": ("use_weight",),
    "val_data": ("validate",),
    "validation_data": ("validate",),
    "verbose": ("progress",),
    "weight": ("class_weights", "weights"),
    "weight_initializer": ("weight_init",),
    "wrt": ("argnums",),
}
"""Options elsewhere, and what a layer here may call the same thing."""

_NAME = "a layer is called what the attribute that holds it is called"
_MULTIPLIERS = "optax.multi_transform, or optax.masked, over dicts by path"

_NEEDLESS: Mapping[str, str] = {
    "activation": "what it computes is fixed; an activation behind it is a layer: nn.ReLU()",
    "allow_deferred_init": "leave it out: None in the shape is a size that the first call tells",
    "allow_missing": "strict=False leaves what is missing as it is",
    "assign": "leave it out: values are always put in place whole",
    "callbacks": "a loop of one's own does what they do: loss = trainer.step(x, y)",
    "ctx": "values are made on JAX's default device; move them with jax.device_put",
    "device": "values are made on JAX's default device; move them with jax.device_put",
    "dtype_source": "the dtype is that of the network; cast=True converts to it",
    "downscale_factor": "it is factor= here, and channels are last without layout='NCHW'",
    "enable_nested_tensor": "leave it out",
    "gain": "that of Xavier is magnitude= here: 3 * gain**2, or gain**2 for 'gaussian'",
    "ignore_extra": "strict=False leaves out what is unexpected",
    "in_features": "leave it out: the first input tells it",
    "include_last_offset": "leave it out, and the last of the offsets as well: offsets[:-1]",
    "inplace": "leave it out: arrays of JAX never change",
    "input_shape": "leave it out: the first input tells it",
    "keep_order": "leave it out: outputs stand in the order of the input",
    "layout": "it is batch_first= of recurrent layers (true is 'NTC'), and axis= of norms",
    "learning_rate": "it is the optimizer's: optax.adam(1e-3)",
    "lr_mult": _MULTIPLIERS,
    "map_location": "values go where those that they replace are; jax.device_put moves them",
    "metrics": "trainer.fit(…, metrics={'accuracy': f}) and trainer.evaluate take it",
    "name": _NAME,
    "prefix": _NAME,
    "recompute_scale_factor": "give size=, the lengths themselves",
    "reduce": "it is reduction=: 'mean', 'sum', 'none' or 'sample'",
    "return_carry": "leave it out: recurrent layers always return (output, state)",
    "return_sequences": "leave it out: the output has all steps, and y[:, -1] is the last",
    "return_state": "leave it out: recurrent layers always return (output, state)",
    "rng": "the seed is a number: seed=0",
    "rngs": "leave it out: net.initialize(seed=0) draws every value",
    "scale_factor": "it is scale= here, and channels are last without layout='NCHW'",
    "size_average": "it is reduction=: 'mean', 'sum', 'none' or 'sample'",
    "skip_mismatch": "it is on_shape='skip'",
    "static_argnums": "constants are told by name: static_argnames='k', or a tuple of names",
    "upscale_factor": "it is factor= here, and channels are last without layout='NCHW'",
    "use_global_stats": "switch the layer: layer.eval()",
    "wd_mult": _MULTIPLIERS,
    "stateful": "pass the state on yourself: y, state = layer(x, state)",
    "time_major": "it is batch_first= of recurrent layers: batch_first=False has time first",
    "weights_only": "leave it out: nothing that is read is ever run",
}
"""Options elsewhere that have no counterpart here, and why."""

_IN_CALLS: Mapping[str, str] = {
    "attention_mask": "masks are mask= and key_mask=, true for what is kept",
    "attn_mask": "it is mask= here, and true for what is kept: mask=~attn_mask",
    "decode": "open a cache around the calls: with nn.decoding(net, batch, length):",
    "deterministic": "switch the network: net.eval() or net.train()",
    "hx": "it is state= here",
    "initial_carry": "it is state= here",
    "initial_state": "it is state= here",
    "is_causal": "it is an option of the layer: causal=True",
    "key_padding_mask": "it is key_mask= here, and true for what is kept: ~padding",
    "memory_key_padding_mask": "it is memory_key_mask= here, and true for what is kept: ~padding",
    "per_sample_weights": "it is weights= here",
    "rngs": "random streams are states of the network: az.seed(0), net.initialize(seed=0)",
    "seq_lengths": "it is lengths= here",
    "sequence_length": "it is lengths= here",
    "src_key_padding_mask": "it is key_mask= here, and true for what is kept: ~padding",
    "src_mask": "it is mask= here, and true for what is kept: mask=~src_mask",
    "tgt_is_causal": "it is an option of the layer: causal=True, the default of decoder layers",
    "tgt_key_padding_mask": "it is key_mask= here, and true for what is kept: ~padding",
    "tgt_mask": "it is mask= here, and true for what is kept: mask=~tgt_mask",
    "train": "switch the network: net.train() or net.eval()",
    "training": "switch the network: net.train() or net.eval()",
    "use_running_average": "switch the network: net.eval() or net.train()",
}
"""Arguments of calls elsewhere, and what to write here."""

_ON_DEVICE = "not needed: values are on JAX's default device; jax.device_put moves them"

_ATTRIBUTES: Mapping[str, str] = {
    "add_parameter": "self.weight = az.Parameter(shape)",
    "asnumpy": "numpy.asarray(p.value)",
    "backward": "az.backward(loss_fn, net, x, y): gradients are those of a function",
    "begin_state": "not needed: layer(x) begins with zeros, layer(x, state) with a state",
    "bfloat16": "net.collect_params().cast('bfloat16'), or dtype='bfloat16' of the layers",
    "bind": "az.functional_call(net, state, x)",
    "buffers": "net.named_states()",
    "build": "net.initialize(example=jax.ShapeDtypeStruct(shape, dtype))",
    "call": "forward: def forward(self, x)",
    "cast": "net.collect_params().cast(dtype), or dtype= of the layers",
    "clone": "p.value, which never changes",
    "compile": "az.Trainer(net, optax.adam(1e-3), loss), which holds optimizer and loss",
    "copy_": "p.value = array",
    "cpu": "jax.device_put of its values",
    "cuda": _ON_DEVICE,
    "detach": "p.value, which does not hold gradients",
    "device": _ON_DEVICE,
    "double": "net.collect_params().cast('float64'), with jax_enable_x64",
    "evaluate": "az.Trainer(net, optax.adam(1e-3), loss).evaluate(batches)",
    "export": "net.save(path); the program is jax.export's",
    "fill_": "p.data[:] = number",
    "fit": "az.Trainer(net, optax.adam(1e-3), loss).fit(batches, epochs=5)",
    "float": "net.collect_params().cast('float32'); layers are made in float32",
    "get_initial_state": "cell.initial_state(x), for one step x of the input",
    "get_layer": "net.get_submodule(path)",
    "get_weights": "net.state_dict()",
    "half": "net.collect_params().cast('float16'), or dtype='float16' of the layers",
    "hybridize": "az.jit(f)(net, x), where f is a function of the network",
    "init": "net.initialize(seed=0)",
    "initialize_carry": "cell.initial_state(x), for one step x of the input",
    "item": "p.value.item()",
    "kernel": "weight, with the outputs on its first axis",
    "layers": "net.children(), or net.modules() for all below",
    "list_ctx": _ON_DEVICE,
    "list_data": "p.value",
    "list_grad": "p.grad",
    "load_dict": "net.load_state_dict(mapping)",
    "load": "net.load(path)",
    "load_parameters": "net.load(path)",
    "load_params": "net.load(path)",
    "load_weights": "net.load(path)",
    "lr_mult": _MULTIPLIERS,
    "name": "its path, the key in net.collect_params()",
    "name_scope": "not needed: paths come from attributes",
    "named_buffers": "net.named_states()",
    "non_trainable_variables": "net.named_states(), and parameters that are frozen",
    "normal_": "init.normal_(p)",
    "numel": "p.size",
    "numpy": "numpy.asarray(p.value)",
    "params": "net.collect_params(); a parameter of one's own is self.weight = az.Parameter(shape)",
    "prefix": "not needed: paths come from attributes",
    "predict": "net.eval()(x)",
    "register_backward_hook": "az.value_and_grad, which returns every gradient",
    "register_buffer": "self.mean = az.State(value)",
    "register_child": "net.add_module(name, module), or an attribute",
    "register_full_backward_hook": "az.value_and_grad, which returns every gradient",
    "register_module": "net.add_module(name, module)",
    "register_parameter": "self.weight = az.Parameter(shape)",
    "requires_grad": "p.trainable",
    "requires_grad_": "net.freeze(select) and net.unfreeze(select), or p.trainable = False",
    "reset_ctx": _ON_DEVICE,
    "save_dict": "net.save(path)",
    "save_parameters": "net.save(path)",
    "save_params": "net.save(path)",
    "save_weights": "net.save(path)",
    "set_data": "p.value = array, or p.data[:] = number",
    "set_weights": "net.load_state_dict(values)",
    "setattr": "p.trainable, p.grad_req or p.init of each: for p in net.parameters()",
    "tabulate": "net.summary(x)",
    "to": _ON_DEVICE,
    "trainable_variables": "net.collect_params(lambda path, p: p.trainable)",
    "trainable_weights": "net.collect_params(lambda path, p: p.trainable)",
    "unroll": "nn.Recurrent(cell)(x)",
    "uniform_": "init.uniform_(p, low, high)",
    "var": "p.value",
    "variables": "net.state_dict()",
    "wd_mult": _MULTIPLIERS,
    "weights": "net.collect_params()",
    "zero_": "init.zeros_(p)",
}
"""Attributes of modules and parameters elsewhere, and what to write here."""


_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Signature(NamedTuple):
    by_position: tuple[str, ...]
    by_name: tuple[str, ...]
    required: frozenset[str]
    any_position: bool
    any_name: bool

    @property
    def names(self) -> tuple[str, ...]:
        return self.by_position + self.by_name


@functools.lru_cache(maxsize=512)  # Bounded: classes made in functions are to be collected.
def _signature(function: Callable[..., Any], skipped: int) -> _Signature:
    """What `function` takes after its first `skipped` parameters, which are `self` or none."""
    found = list(inspect.signature(function).parameters.values())[skipped:]
    plain = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return _Signature(
        tuple(p.name for p in plain),
        tuple(p.name for p in found if p.kind is p.KEYWORD_ONLY),
        frozenset(p.name for p in found if p.default is p.empty and p.kind not in _OPEN),
        any(p.kind is p.VAR_POSITIONAL for p in found),
        any(p.kind is p.VAR_KEYWORD for p in found),
    )


def check_options(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse what `cls.__init__` does not take, before Python does so in fewer words.

    Raises:
        TypeError: an option is unknown, missing, given twice, or not given by its name.
    """
    takes = _signature(cls.__init__, 1)  # type: ignore[misc]  # It is only looked at.
    _check(cls.__name__, takes, len(args), kwargs)


def _check(
    kind: str, takes: _Signature, count: int, kwargs: Mapping[str, Any], advice: str = ""
) -> None:
    """Refuse `count` values by position and `kwargs` by name if they do not fit."""
    names = takes.names
    for name in () if takes.any_name else kwargs:
        if name not in names:
            error = unknown_option(kind, name, names)
            raise TypeError(f"{error}{advice}") if name == "batch_size" else error
    by_position = takes.by_position[:count]
    twice = next((name for name in by_position if name in kwargs), "")
    if twice and not takes.any_name:
        raise TypeError(f"{kind} got {twice} twice, by position and by name{advice}")
    if not takes.any_position and count > len(takes.by_position):
        named = ", ".join(takes.by_name)
        raise TypeError(
            f"{kind} takes {', '.join(takes.by_position) or 'nothing'} by position, got {count} "
            f"values{f'; give others by name: {named}' if named else ''}{advice}"
        )
    missing = takes.required.difference(kwargs, by_position)
    if missing:
        needs = " and ".join(name for name in names if name in missing)
        raise TypeError(f"{kind} needs {needs}; it takes {', '.join(names)}{advice}")


P = ParamSpec("P")
R = TypeVar("R")


def shared_init(
    function: Callable[Concatenate[Any, P], None],
) -> Callable[Concatenate[Any, P], None]:
    """Make an `__init__` that several classes inherit name the one that was called with nothing.

    Python's own error names the function, and so a class that nobody has called. It is not looked
    at in `__new__`, which gets nothing from `cls.__new__(cls)` as well.
    """

    @functools.wraps(function)
    def init(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if not args and not kwargs and type(self).__init__ is init:
            check_options(type(self), args, kwargs)
        function(self, *args, **kwargs)

    return init


def hinted(hint: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function say what it takes, and what an option elsewhere is called here.

    Args:
        hint: what to write instead, when it is given too many or too few values, one of them twice,
            or a `batch_size`.
    """
    advice = f"; {hint}" if hint else ""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        skipped = int(next(iter(inspect.signature(function).parameters), "") == "self")
        takes = _signature(function, skipped)
        least = skipped + len(takes.required.intersection(takes.by_position))
        most = sys.maxsize if takes.any_position else skipped + len(takes.by_position)
        by_name = frozenset(takes.by_name)
        kind = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not (least <= len(args) <= most and by_name.issuperset(kwargs)):
                _check(kind, takes, len(args) - skipped, kwargs, advice)
            return function(*args, **kwargs)

        return call

    return decorate


def unknown_option(kind: str, name: str, known: tuple[str, ...]) -> TypeError:
    """The error about an option that a class or a function does not have."""
    same = [option for option in _OPTIONS.get(name, ()) if option in known]
    if same:
        hint = f"; it is called {same[0]!r} here"
    elif name in _NEEDLESS:
        hint = f"; {_NEEDLESS[name]}"
    else:
        hint = did_you_mean(name, known)
    listed = f" (it takes {', '.join(known)})" if known else ""
    return TypeError(f"{kind} has no option {name!r}{hint}{listed}")


def hint_about_call(
    forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
) -> str:
    """What to say about a call that failed because of what it was given, or nothing.

    Args:
        forward: the bound method that was called.
        args: what it was given.
        kwargs: likewise.
        error: how it failed.
    """
    if isinstance(error, TypeError):
        if mismatch(forward, args, kwargs):
            told = [f"{name}: {_IN_CALLS[name]}" for name in kwargs if name in _IN_CALLS]
            takes = ", ".join(inspect.signature(forward).parameters)
            return "; ".join([f"it is called with ({takes})", *told])
        if any(type(value).__module__ == "torch" for value in (*args, *kwargs.values())):
            return "an input is a torch.Tensor, not an array of JAX: jnp.asarray(x.numpy())"
    if isinstance(error, AttributeError) and error.name in ("shape", "ndim", "dtype"):
        wrong = [value for value in (*args, *kwargs.values()) if value is error.obj]
        if wrong and isinstance(wrong[0], tuple):
            return (
                f"an input is a tuple of {len(wrong[0])}, not an array; if it comes from a "
                "recurrent layer, the output is its first part: nn.Lambda(lambda y: y[0])"
            )
        if wrong and wrong[0] is None and args and args[0] is None:
            return "its input is None, not an array; if a function or a layer gave it, return there"
        if wrong and wrong[0] is not None:
            return f"an input is a {type(wrong[0]).__name__}, not an array: jnp.asarray(x)"
    return ""


def mismatch(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Why a method cannot be called like this at all, or nothing."""
    try:
        inspect.signature(forward).bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return ""


def no_attribute(held_by: object, name: str, known: Iterable[str]) -> AttributeError:
    """The error about an attribute that is not there."""
    hint = ""
    own = [other for other in known if not other.startswith("_")]
    if name in _ATTRIBUTES:
        # `layers` may be another library's, or a slip for an attribute `layer` of one's own.
        hint = f"; here it is {_ATTRIBUTES[name]}{did_you_mean(name, own, cutoff=0.9)}"
    elif not name.startswith("_"):
        hint = did_you_mean(name, own)
    return AttributeError(
        f"{type(held_by).__name__} has no attribute {name!r}{hint}", name=name, obj=held_by
    )


def no_such_name(
    module: str, name: str, known: Iterable[str], elsewhere: Mapping[str, str], ours: str = ""
) -> AttributeError:
    """The error about a name that a module of Ansatz does not have.

    Args:
        module: the full name of the module.
        name: what was asked for.
        known: the names that are there.
        elsewhere: what to write here for names of other libraries.
        ours: what to write if that does not tell.
    """
    if name in elsewhere:
        hint = f"; here it is {elsewhere[name]}"
    elif ours:
        hint = f"; here it is {ours}"
    else:
        hint = "" if name.startswith("_") else did_you_mean(name, known)
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}", name=name)


class SpelledOtherwise:
    """An attribute that would be set in vain: an error, which says what to write instead."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        raise no_attribute(instance, self._name, ())

    def __set__(self, instance: object, value: object) -> None:
        raise no_attribute(instance, self._name, ())
