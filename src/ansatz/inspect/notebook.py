"""What notebooks show of a network, of some of its parameters, and of its state dict: a table.

A state dict is a plain `dict`, and stays one: a subclass is another kind of pytree, which
`jax.tree.map` and `jax.lax.scan` refuse to mix with the dicts that people build from it. But a
plain dict cannot say how it is shown. So, in IPython, it is remembered which arrays `state_dict`
gave, and under which names; a dict of nothing else is shown as the table, every other as before.
The table is made when it is shown, from the network as it then is.
"""

from __future__ import annotations

import dataclasses
import sys
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from ansatz.core import verbs
from ansatz.core.collection import ParameterDict
from ansatz.core.declared import Declared
from ansatz.core.module import Module
from ansatz.core.node import walk
from ansatz.inspect.rows import SummaryRow, totals_of
from ansatz.inspect.summary import Summary, summary


@verbs.provide("html")
def html(shown: Module | ParameterDict) -> str:
    """The summary as an HTML table, without reading any values.

    Args:
        shown: a network, or the parameters that `collect_params` gave: only these are shown.
    """
    if isinstance(shown, Module):
        return summary(shown, statistics=False)._repr_html_()
    root = shown.root
    assert isinstance(root, Module)
    whole = summary(root, statistics=False)
    rows = tuple(row for row in whole if row.path in shown)
    return dataclasses.replace(whole, rows=rows, totals=totals_of(rows))._repr_html_()


class _Given(NamedTuple):
    """What is known of an array that `state_dict` gave."""

    array: weakref.ref[Any]
    module: weakref.ref[Module]


class StateDicts:
    """How one IPython shows state dicts.

    Args:
        formatter: what makes HTML of objects there; it calls `show` for each dict from now on.
    """

    def __init__(self, formatter: Any) -> None:
        self._formatter = formatter
        self._given: dict[tuple[str, int], _Given] = {}
        self._before = formatter.for_type(dict, self.show)

    def remember(self, module: Module, state: Mapping[str, Any]) -> None:
        """Note which arrays a module gave under which names; nothing is kept alive by that."""
        giver = weakref.ref(module)
        for path, array in state.items():
            # A copy of a network may hold the same arrays: who gave one first is who it is of.
            if not isinstance(array, jax.core.Tracer) and self._giver_of(path, array) is None:
                key = (path, id(array))
                forget = weakref.ref(array, lambda _, key=key: self._given.pop(key, None))  # type: ignore[misc]
                self._given[key] = _Given(forget, giver)

    def show(self, shown: dict[Any, Any]) -> Any:
        """HTML for a dict: the table for a state dict, and for any other what there was before."""
        if type(shown) is dict and shown:
            givers = [self._giver_of(path, array) for path, array in shown.items()]
            giver = givers[0]
            if giver is not None and all(other is giver for other in givers):
                told = summary(giver, statistics=False)
                rows = {row.path: row for row in told}
                if rows.keys() >= shown.keys():  # Else the network has changed since.
                    held = {path: cell for path, cell in walk(giver) if isinstance(cell, Declared)}
                    now = tuple(_row(rows[p], held[p], array) for p, array in shown.items())
                    return Summary(told.title, now, totals_of(now), {})._repr_html_()
        return self._as_before(shown)

    def _giver_of(self, path: Any, array: Any) -> Module | None:
        """The network that gave this array under this name, if it is still there."""
        given = self._given.get((path, id(array))) if isinstance(path, str) else None
        return given.module() if given is not None and given.array() is array else None

    def _as_before(self, shown: dict[Any, Any]) -> Any:
        """What IPython finds if nobody is registered for dicts: a class above, or a method."""
        if self._before is not None:
            return self._before(shown)
        for kind in type(shown).__mro__:
            if kind is not dict and kind in self._formatter.type_printers:
                return self._formatter.type_printers[kind](shown)
        method = getattr(type(shown), "_repr_html_", None)
        return None if method is None else method(shown)


def _row(row: SummaryRow, cell: Declared, array: Any) -> SummaryRow:
    """The row of an array, which may not be the value any more."""
    if row.shared_with is not None or cell.base is not cell or cell._value is array:
        return row
    return dataclasses.replace(
        row,
        shape=array.shape,
        dtype=str(array.dtype),
        count=array.size,
        nbytes=array.nbytes,
        origin="replaced since",
    )


def _shell() -> Any:
    """The IPython in which this runs; `None` if it does not."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def show_state_dicts_in(shell: Any) -> None:
    """From now on, show state dicts as tables in an IPython."""
    verbs.provide("state_dict_given")(
        StateDicts(shell.display_formatter.formatters["text/html"]).remember
    )


if (_running := _shell()) is not None:
    show_state_dicts_in(_running)
