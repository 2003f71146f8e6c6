"""Sharing: what `params=` of a layer does.

`nn.Dense(8, params=other.collect_params())` makes a layer that holds the parameters of another one
instead of its own. They are matched by their names in the layer (`"weight"`, `"query.weight"`), all
of them or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansatz.core.cell import Cell
from ansatz.core.collection import ParameterDict
from ansatz.core.errors import TieError, did_you_mean, format_value
from ansatz.core.module import Module
from ansatz.core.node import Node, check_tie
from ansatz.core.parameter import Parameter
from ansatz.core.paths import find
from ansatz.core.shapes import merge_shapes

Params = Mapping[str, Parameter] | None
"""What `params=` takes: parameters by local name, or nothing to share."""


def share(layer: Module, params: Params, **own: Any) -> None:
    """Put the parameters of another layer in the place of those of `layer`.

    The shapes may still be unknown; what one of the two layers knows, the other learns.

    Args:
        layer: a layer whose own parameters are declared.
        params: `other.collect_params()` of one layer, or a mapping from local names; `None` shares
            nothing.
        **own: initialisers that were given for the parameters of `layer`; only `None` fits, since
            a shared parameter brings its own.

    Raises:
        TieError: names, shapes or dtypes do not match; nothing was tied.
    """
    if params is None:
        return
    kind = type(layer).__name__
    if not isinstance(params, Mapping):
        hint = ": pass its parameters, params=layer.collect_params()"
        raise TypeError(
            f"params of {kind} is a mapping from local names to parameters, got "
            f"{_in_words(params)}{hint if isinstance(params, Module) else ''}"
        )
    given = _by_local_name(params)
    kept = dict(layer.named_parameters())
    _check_names(kind, kept, given)
    for name, choice in own.items():
        if choice is not None:
            raise TieError(
                f"{name}={choice!r} was given to {kind} together with params=, but a shared "
                "parameter keeps the initialiser that it was declared with; give one of the two"
            )
    for name, cell in given.items():
        if not isinstance(cell, Parameter):
            raise TieError(
                f"params['{name}'] is {_in_words(cell)}, not a parameter; only parameters can be "
                "shared"
            )
        if merge_shapes(kept[name].shape, cell.shape) is None or kept[name].dtype != cell.dtype:
            check_tie(kept[name], cell, name)
    for name, cell in given.items():
        owner, _, local = name.rpartition(".")
        setattr(layer.get_submodule(owner), local, cell)


def _in_words(given: Any) -> str:
    """What was given: an array by its dtype and shape, a module or cell by its class."""
    if isinstance(given, Node | Cell):
        return f"a {type(given).__name__}"
    return format_value(given)


def _by_local_name(params: Mapping[str, Parameter]) -> dict[str, Any]:
    if isinstance(params, ParameterDict):
        # Through the module: it may see a parameter transposed, which its mapping does not tell.
        return {name: find(params.root, name) for name in params}
    return dict(params)


def _check_names(kind: str, kept: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    unknown = [name for name in given if name not in kept]
    unbound = [name for name in kept if name not in given]
    if not unknown and not unbound:
        return
    found = []
    if unknown:
        hints = [f"'{name}'{did_you_mean(name, unbound).rstrip('?')}" for name in unknown]
        found.append(f"{kind} has no parameter for {', '.join(hints)}")
    if unbound:
        found.append(f"nothing was given for {', '.join(f'{name!r}' for name in unbound)}")
    raise TieError(
        f"params= does not match the parameters of {kind} ({', '.join(kept) or 'none'}): "
        f"{'; '.join(found)}. Nothing was shared. Pass the parameters of one layer that has the "
        "same ones, params=other.collect_params(), or tie single parameters by assignment: "
        "layer.weight = other.weight."
    )
