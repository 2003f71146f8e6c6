"""What notebooks show of a network, of some of its parameters, and of its state dict: a table.

A state dict is a plain `dict`, and stays one: a subclass is another kind of pytree, which
`jax.tree.map` and `jax.lax.scan` refuse to mix with the dicts that people build from it. But a
plain dict cannot say how it is shown. So, in IPython, it is remembered which arrays `state_dict`
gave, and under which names; a dict of nothing else is shown as the table, every other as before.
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
from ansatz.core.module import Module
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
    row: SummaryRow
    title: str


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
        """Note which arrays a module gave under which names; none is kept alive by that."""
        told = summary(module, statistics=False)
        rows = {row.path: row for row in told}
        for path, array in state.items():
            if not isinstance(array, jax.core.Tracer):
                key = (path, id(array))
                forget = weakref.ref(array, lambda _, key=key: self._given.pop(key, None))  # type: ignore[misc]
                self._given[key] = _Given(forget, rows[path], told.title)

    def show(self, shown: dict[Any, Any]) -> Any:
        """HTML for a dict: the table for a state dict, and for any other what there was before."""
        known = [self._known(path, array) for path, array in shown.items()]
        found = [each for each in known if each is not None]
        if type(shown) is dict and found and len(found) == len(known):
            rows = tuple(each.row for each in found)
            return Summary(found[0].title, rows, totals_of(rows), {})._repr_html_()
        return self._as_before(shown)

    def _known(self, path: Any, array: Any) -> _Given | None:
        given = self._given.get((path, id(array))) if isinstance(path, str) else None
        return given if given is not None and given.array() is array else None

    def _as_before(self, shown: dict[Any, Any]) -> Any:
        """What IPython finds if nobody is registered for dicts: a class above, or a method."""
        if self._before is not None:
            return self._before(shown)
        for kind in type(shown).__mro__:
            if kind is not dict and kind in self._formatter.type_printers:
                return self._formatter.type_printers[kind](shown)
        method = getattr(type(shown), "_repr_html_", None)
        return None if method is None else method(shown)


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
