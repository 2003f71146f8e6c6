"""What notebooks show of a network, or of some of its parameters: the summary as a table."""

from __future__ import annotations

import dataclasses

from ansatz.core import verbs
from ansatz.core.collection import ParameterDict
from ansatz.core.module import Module
from ansatz.inspect.rows import totals_of
from ansatz.inspect.summary import summary


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
