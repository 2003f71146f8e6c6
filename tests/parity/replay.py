"""What PyTorch computed, and whether ours computes the same.

`fixtures/<family>.safetensors` holds named cases, written by `make_<family>.py`. A test builds our
module for each case, or names our function, and hands both to `check`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

import ansatz as az
from ansatz import nn

FOLDER = pathlib.Path(__file__).parent / "fixtures"

Arrays = dict[str, Any]


@dataclasses.dataclass
class Case:
    """One call of a PyTorch module or function, and what came of it."""

    inputs: list[Any] = dataclasses.field(default_factory=list)
    outputs: list[Any] = dataclasses.field(default_factory=list)
    cotangents: list[Any] = dataclasses.field(default_factory=list)
    input_grads: Arrays = dataclasses.field(default_factory=dict)
    param_grads: Arrays = dataclasses.field(default_factory=dict)
    state: Arrays = dataclasses.field(default_factory=dict)
    updated: Arrays = dataclasses.field(default_factory=dict)


def load(family: str) -> dict[str, Case]:
    """The cases of one family, by name."""
    cases: dict[str, Case] = {}
    stored = load_file(FOLDER / f"{family}.safetensors")
    for key in sorted(stored, key=_in_order):
        case, kind, name = key.split("/")
        group = getattr(cases.setdefault(case, Case()), kind)
        if isinstance(group, list):
            group.append(stored[key])
        else:
            group[name] = stored[key]
    return cases


def _in_order(key: str) -> tuple[str, str, int, str]:
    case, kind, name = key.split("/")
    return case, kind, int(name) if name.isdigit() else 0, name


def check(
    case: Case,
    module: nn.Module | Callable[..., Any],
    call: Callable[..., Any] | None = None,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    names: Callable[[str], str] = lambda name: name,
    to_ours: Callable[[Any], Any] = lambda array: array,
    to_theirs: Callable[[Any], Any] = lambda array: array,
) -> None:
    """Assert that `module` loads the state and gives the outputs and all gradients of `case`.

    Args:
        case: what PyTorch computed.
        module: our module, freshly declared, with or without input sizes; or a plain function of
            the inputs.
        call: what is called with the module and the inputs, if it is not `module(*inputs)`.
        rtol: the relative tolerance.
        atol: the tolerance relative to the largest magnitude of each expected array.
        names: our name of a PyTorch name; the identity unless the test is about renaming.
        to_ours: applied to inputs, such as a transposition to channels-last.
        to_theirs: applied to outputs and to gradients of inputs, the inverse of `to_ours`.
    """
    if not isinstance(module, nn.Module):
        module = nn.Lambda(module)
    module.load_state_dict({names(name): value for name, value in case.state.items()})
    inputs = [jnp.asarray(to_ours(x)) for x in case.inputs]
    floating = [i for i, x in enumerate(inputs) if jnp.issubdtype(x.dtype, jnp.floating)]
    caller = _Caller(module, call)
    trained = {path for path, parameter in caller.named_parameters() if parameter.trainable}

    def run(trainable: Arrays, given: list[Any]) -> tuple[list[Any], Arrays]:
        arguments = list(inputs)
        for i, x in zip(floating, given, strict=True):
            arguments[i] = x
        outputs, updated = az.functional_call(
            caller, {**values, **trainable}, *arguments, return_state=True
        )
        return [to_theirs(output) for output in jax.tree.leaves(outputs)], updated

    # The first call settles what has no input size and is no part of the state.
    caller.settle_shapes(*inputs)
    values = caller.state_dict()
    trainable = {path: value for path, value in values.items() if path in trained}
    given = [inputs[i] for i in floating]
    differentiated = bool(case.param_grads or case.input_grads)

    @jax.jit  # One program compiles faster than those of all eager operations.
    def everything(trainable: Arrays, given: list[Any], cotangents: list[Any]) -> Any:
        outputs, pullback, updated = jax.vjp(run, trainable, given, has_aux=True)
        return outputs, updated, pullback(cotangents) if differentiated else ({}, [])

    cotangents = [jnp.asarray(c) for c in case.cotangents]
    outputs, updated, (param_grads, input_grads) = everything(trainable, given, cotangents)
    assert len(outputs) == len(case.outputs)
    for i, (output, expected) in enumerate(zip(outputs, case.outputs, strict=True)):
        _close(output, expected, rtol, atol, f"output {i}")
    for name, expected in case.updated.items():
        _close(updated[_PREFIX + names(name)], expected, rtol, atol, f"{name} after the call")
    if not differentiated:
        return
    assert sorted(_PREFIX + names(name) for name in case.param_grads) == sorted(param_grads)
    for name, expected in case.param_grads.items():
        _close(param_grads[_PREFIX + names(name)], expected, rtol, atol, f"gradient of {name}")
    for i, grad in zip(floating, input_grads, strict=True):
        if str(i) in case.input_grads:
            expected = case.input_grads[str(i)]
            _close(to_theirs(np.asarray(grad)), expected, rtol, atol, f"gradient of input {i}")


_PREFIX = "module."


class _Caller(nn.Module):
    """Calls a module in the way that a case asks for."""

    def __init__(self, module: nn.Module, call: Callable[..., Any] | None) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *inputs: Any) -> Any:
        if self.call is None:
            return self.module(*inputs)
        return self.call(self.module, *inputs)


def _close(found: Any, expected: Any, rtol: float, atol: float, what: str) -> None:
    found = np.asarray(found)
    assert found.shape == expected.shape, f"{what}: {found.shape}, expected {expected.shape}"
    largest = float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(
        found, expected, rtol=rtol, atol=atol * max(largest, 1e-6), err_msg=what
    )
