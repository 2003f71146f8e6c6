"""Looking at networks: what is in them, where it comes from, and how much of it."""

from ansatz.inspect.cost import Cost
from ansatz.inspect.count import count
from ansatz.inspect.drift import Drift, DriftRow, drift
from ansatz.inspect.foldable import foldable
from ansatz.inspect.graph import graph
from ansatz.inspect.notebook import html
from ansatz.inspect.rows import SummaryRow, Totals
from ansatz.inspect.summary import Summary, summary

__all__ = [
    "Cost",
    "Drift",
    "DriftRow",
    "Summary",
    "SummaryRow",
    "Totals",
    "count",
    "drift",
    "foldable",
    "graph",
    "html",
    "summary",
]
