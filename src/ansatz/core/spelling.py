"""What other libraries call things: hints for options and attributes that Ansatz spells otherwise.

A newcomer writes what is written elsewhere. Nothing here makes that work, because one thing has one
name; it makes the error say which. The names of layers and losses are in `nn/spelling.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

from ansatz.core.errors import did_you_mean

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "affine": ("use_weight",),
    "alpha": ("negative_slope",),
    "bias": ("use_bias",),
    "bias_initializer": ("bias_init",),
    "center": ("use_bias",),
    "decoder_layer": ("layer",),
    "dilation_rate": ("dilation",),
    "dim": ("axis",),
    "distance_function": ("distance",),
    "elementwise_affine": ("use_weight",),
    "embed_dim": ("units",),
    "embedding_dim": ("features",),
    "embeddings_initializer": ("weight_init",),
    "encoder_layer": ("layer",),
    "epsilon": ("eps",),
    "features": ("units", "channels", "out_features"),
    "filters": ("channels",),
    "in_features": ("in_units",),
    "input_dim": ("num_embeddings", "in_units"),
    "kernel_init": ("weight_init",),
    "kernel_initializer": ("weight_init",),
    "num_channels": ("channels",),
    "num_features": ("channels",),
    "num_groups": ("groups",),
    "out_channels": ("channels",),
    "out_features": ("units",),
    "log_input": ("from_logits",),
    "log_target": ("log_targets",),
    "output_dim": ("features",),
    "p": ("rate", "power"),
    "padding_idx": ("padding_index",),
    "pool_size": ("kernel_size",),
    "pos_weight": ("positive_weight",),
    "sample_weight": ("weights",),
    "scale": ("use_weight",),
    "start_dim": ("start_axis",),
    "strides": ("stride",),
    "units": ("hidden_size", "out_features"),
    "use_bias": ("bias",),
    "use_scale": ("use_weight",),
    "weight": ("class_weights", "weights"),
    "weight_initializer": ("weight_init",),
}
"""Options elsewhere, and what a layer here may call the same thing."""

_NEEDLESS: Mapping[str, str] = {
    "device": "values are made on JAX's default device; move them with jax.device_put",
    "enable_nested_tensor": "leave it out",
    "inplace": "leave it out: arrays of JAX never change",
    "input_shape": "leave it out: the first input tells it",
    "name": "a layer is called what the attribute that holds it is called",
    "reduce": "it is reduction=: 'mean', 'sum', 'none' or 'sample'",
    "rngs": "leave it out: net.initialize(seed=0) draws every value",
    "size_average": "it is reduction=: 'mean', 'sum', 'none' or 'sample'",
}
"""Options elsewhere that have no counterpart here, and why."""

_IN_CALLS: Mapping[str, str] = {
    "attention_mask": "masks are mask= and key_mask=, true for what is kept",
    "attn_mask": "it is mask= here, and true for what is kept: mask=~attn_mask",
    "deterministic": "switch the network: net.eval() or net.train()",
    "key_padding_mask": "it is key_mask= here, and true for what is kept: ~padding",
    "rngs": "random streams are states of the network: az.seed(0), net.initialize(seed=0)",
    "src_key_padding_mask": "it is key_mask= here, and true for what is kept: ~padding",
    "train": "switch the network: net.train() or net.eval()",
    "training": "switch the network: net.train() or net.eval()",
}
"""Arguments of calls elsewhere, and what to write here."""

_ATTRIBUTES: Mapping[str, str] = {
    "backward": "gradients are those of a function: az.backward(loss_fn, net, x, y)",
    "cast": "cast its values, p.value.astype(dtype), or build layers with dtype=",
    "compile": "az.Trainer(net, optax.adam(1e-3), loss) holds optimizer and loss",
    "cpu": "move values with jax.device_put",
    "cuda": "values are on JAX's default device already; move them with jax.device_put",
    "detach": "a value does not hold gradients: p.value",
    "fit": "az.Trainer(net, optax.adam(1e-3), loss).fit(batches, epochs)",
    "get_weights": "net.state_dict()",
    "half": "build layers with dtype='float16'",
    "hybridize": "compile a function of the network instead: az.jit(f)(net, x)",
    "list_data": "p.value",
    "load_parameters": "net.load(path)",
    "name_scope": "paths come from attributes, so it is not needed",
    "named_buffers": "net.named_states()",
    "numpy": "numpy.asarray(p.value)",
    "params": "net.collect_params(); a parameter of one's own is self.weight = az.Parameter(shape)",
    "predict": "net.eval()(x)",
    "register_buffer": "self.mean = az.State(value)",
    "register_parameter": "self.weight = az.Parameter(shape)",
    "requires_grad": "p.trainable",
    "requires_grad_": "net.freeze(select) and net.unfreeze(select), or p.trainable = False",
    "save_parameters": "net.save(path)",
    "set_data": "p.value = array, or p.data[:] = number",
    "set_weights": "net.load_state_dict(values)",
    "to": "values are on JAX's default device already; move them with jax.device_put",
    "trainable_variables": "net.collect_params(lambda path, p: p.trainable)",
}
"""Attributes of modules and parameters elsewhere, and what to write here."""


_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Signature(NamedTuple):
    by_position: tuple[str, ...]
    by_name: tuple[str, ...]
    required: frozenset[str]
    any_position: bool
    any_name: bool


@functools.cache
def _signature(function: Callable[..., Any]) -> _Signature:
    """What `function` takes after `self`."""
    found = list(inspect.signature(function).parameters.values())[1:]
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
        TypeError: an option is unknown, missing, or not given by its name.
    """
    takes = _signature(cls.__init__)  # type: ignore[misc]  # It is only looked at.
    for name in kwargs:
        if not takes.any_name and name not in takes.by_position and name not in takes.by_name:
            raise unknown_option(cls.__name__, name, takes.by_position + takes.by_name)
    if not takes.any_position and len(args) > len(takes.by_position):
        named = ", ".join(takes.by_name)
        raise TypeError(
            f"{cls.__name__} takes {', '.join(takes.by_position) or 'nothing'} by position, got "
            f"{len(args)} values" + (f"; give others by name: {named}" if named else "")
        )
    missing = takes.required.difference(kwargs, takes.by_position[: len(args)])
    if missing:
        names = [name for name in takes.by_position + takes.by_name if name in missing]
        raise TypeError(
            f"{cls.__name__} needs {' and '.join(names)}; it takes "
            f"{', '.join(takes.by_position + takes.by_name)}"
        )


P = ParamSpec("P")
R = TypeVar("R")


def hinted(hint: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function say what it takes, and what an option elsewhere is called here.

    Args:
        hint: what to write instead, when it is given too many values or unknown options.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        found = inspect.signature(function).parameters.values()
        names = {p.name: None for p in found}
        most = sum(p.kind is not p.KEYWORD_ONLY for p in found)
        listed = ", ".join(name for name in names if name != "self")
        kind = function.__qualname__

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if len(args) > most or not kwargs.keys() <= names.keys():
                for name in kwargs:
                    if name not in names and not hint:
                        raise unknown_option(kind, name, tuple(names))
                raise TypeError(f"{kind} takes ({listed})" + (f"; {hint}" if hint else ""))
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
    if name in _ATTRIBUTES:
        hint = f"; here it is {_ATTRIBUTES[name]}"
    elif not name.startswith("_"):
        hint = did_you_mean(name, [other for other in known if not other.startswith("_")])
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
