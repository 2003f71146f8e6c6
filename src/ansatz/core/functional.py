"""The pure function of a module: its values come in as a flat dict and go out as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from ansatz.core import frame
from ansatz.core.cell import Cell
from ansatz.core.declared import Declared
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
from ansatz.core.parameter import Parameter
from ansatz.core.paths import names_of
from ansatz.core.shapes import Shape, merge_shapes


def functional_call(
    net: Module, state: Mapping[str, Any], *args: Any, return_state: bool = False, **kwargs: Any
) -> Any:
    """Call `net` with the values of `state` in place of its own: a pure function of `state`.

    The network itself does not change. This is what `jax.vmap` ensembles, `jax.export` and every
    other transformation of plain JAX wants.

    Args:
        net: a module.
        state: `{path: array}` with one entry for each distinct parameter, and for those states
            that shall not have the network's own values; `net.state_dict()` gives all.
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
    stand_ins = {
        name.cell: state[path].T if name.transposed else state[path] for path, name in given.items()
    }
    with Frame(stand_ins, stale=frame.keeps_constants()) as inner:
        inner.shapes.update((cell, jnp.shape(value)) for cell, value in stand_ins.items())
        output = net(*args, **kwargs)
        written = inner.written()
    if return_state:
        _check_kept(net, written)
        new = dict(state)
        given_cells = {name.cell for name in given.values()}
        for cell, names in names_of(net).items():  # Also a random stream that was left out.
            if cell in written and cell not in given_cells:
                new[names.path] = written[cell]
        for path, name in given.items():
            if name.cell in written:
                value = written[name.cell]
                new[path] = value.T if name.transposed else value
        return output, new
    if written:
        described = ", ".join(cell.describe() for cell in written)
        raise TraceError(
            f"{described} was written during functional_call and would be lost; use "
            "output, state = az.functional_call(…, return_state=True), or net.eval()"
        )
    return output


class _Name(NamedTuple):
    """What a name in the state stands for."""

    cell: Declared
    transposed: bool


def _given_cells(net: Module, state: Mapping[str, Any]) -> dict[str, _Name]:
    given: dict[str, _Name] = {}
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
        if found:
            name = found[0]
            given[name] = _Name(cell, name in names.transposed)
            declared = cell.shape[::-1] if name in names.transposed else cell.shape
            _check_shape(declared, name, state[name])
        elif isinstance(cell, Parameter):
            missing.append(names.path)
    unknown = [name for name in state if name not in known]
    if unknown or missing:
        parts = [f"no parameter is called {name!r}{did_you_mean(name, known)}" for name in unknown]
        if missing:
            parts.append("missing: " + ", ".join(map(repr, missing)))
        raise PathError(f"state does not fit {type(net).__name__}: {'; '.join(parts)}")
    return given


def _check_kept(net: Module, written: Mapping[Cell, Any]) -> None:
    """Refuse writes that the returned state has no place for."""
    own = names_of(net)
    lost = [cell for cell in written if not (cell in own and isinstance(cell, Declared))]
    if lost:
        names = ", ".join(cell.describe() for cell in lost)
        raise TraceError(
            f"{names} was written during functional_call, but is no parameter or state of this "
            f"{type(net).__name__}, so the update would be lost; make it an az.State that is an "
            "attribute of a module below, or return the value from forward"
        )


def _check_shape(declared: Shape, name: str, value: Any) -> None:
    if merge_shapes(declared, jnp.shape(value)) is None:
        raise ShapeError(
            f"state['{name}'] has shape {format_shape(jnp.shape(value))}, but the parameter has "
            f"shape {format_shape(declared)}"
        )
