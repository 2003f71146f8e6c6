"""The pure function of a module: its values come in as a flat dict and go out as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ansatz.core import frame
from ansatz.core.declared import Declared, merge_shapes
from ansatz.core.errors import (
    PathError,
    ShapeError,
    TieError,
    TraceError,
    did_you_mean,
    format_shape,
)
from ansatz.core.frame import Frame
from ansatz.core.module import Module
from ansatz.core.parameter import State
from ansatz.core.paths import names_of


def functional_call(
    net: Module, state: Mapping[str, Any], *args: Any, return_state: bool = False, **kwargs: Any
) -> Any:
    """Call `net` with the values of `state` in place of its own: a pure function of `state`.

    The network itself does not change. This is what `jax.vmap` ensembles, `jax.export` and every
    other transformation of plain JAX wants.

    Args:
        net: a module.
        state: `{path: array}` with one entry for each distinct parameter and state, as
            `net.state_dict()` gives it.
        *args: what `forward` takes.
        return_state: true to return `(output, new state)`; needed if the call writes a state, as
            batch norm and dropout do in training.
        **kwargs: keyword arguments of `forward`.

    Raises:
        PathError: a name in `state` is unknown, or one that is needed is missing.
        ShapeError: a value has another shape than its parameter.
        TieError: two names of one parameter are given.
        TraceError: a state was written and `return_state` is false.
    """
    given = _given_cells(net, state)
    stand_ins = {cell: state[path] for cell, path in given.items()}
    with Frame(stand_ins, stale=frame.keeps_constants()) as inner:
        inner.shapes.update((cell, jnp.shape(state[path])) for cell, path in given.items())
        output = net(*args, **kwargs)
        written = inner.written()
    if return_state:
        return output, {path: written.get(cell, state[path]) for cell, path in given.items()}
    if written:
        names = ", ".join(cell.describe() for cell in written)
        raise TraceError(
            f"{names} was written during functional_call and would be lost; use "
            "output, state = az.functional_call(…, return_state=True), or net.eval()"
        )
    return output


def _given_cells(net: Module, state: Mapping[str, Any]) -> dict[Declared, str]:
    given: dict[Declared, str] = {}
    known: list[str] = []
    missing: list[str] = []
    for cell, names in names_of(net).items():
        if not isinstance(cell, Declared):
            continue
        known.extend(names.all)
        found = [name for name in names.all if name in state]
        if len(found) > 1:
            raise TieError(
                f"{' and '.join(map(repr, found))} are names of one parameter, and both are given;"
                " give one of them (net.state_dict() has each parameter once), so that its "
                "gradient is one as well"
            )
        if found and found[0] in names.transposed:
            raise TieError(
                f"'{found[0]}' is the transposed view of '{names.path}'; give '{names.path}'"
            )
        if found:
            given[cell] = found[0]
            _check_shape(cell, found[0], state[found[0]])
        elif not (isinstance(cell, State) and cell.optional):
            missing.append(names.path)
    unknown = [name for name in state if name not in known]
    if unknown or missing:
        parts = [f"no parameter is called {name!r}{did_you_mean(name, known)}" for name in unknown]
        if missing:
            parts.append("missing: " + ", ".join(map(repr, missing)))
        raise PathError(f"state does not fit {type(net).__name__}: {'; '.join(parts)}")
    return given


def _check_shape(cell: Declared, name: str, value: Any) -> None:
    if merge_shapes(cell.shape, jnp.shape(value)) is None:
        raise ShapeError(
            f"state['{name}'] has shape {format_shape(jnp.shape(value))}, but the parameter has "
            f"shape {format_shape(cell.shape)}"
        )
