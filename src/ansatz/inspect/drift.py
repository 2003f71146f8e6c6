"""Drift: which parameters are still at their initial draw, and how far the others have gone.

A draw depends on the seed, the path and the initialiser, which each parameter remembers. So it can
be made again and compared, one parameter at a time; nothing has to be kept from the beginning.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from rich.table import Table
from rich.text import Text

from ansatz.core import verbs
from ansatz.core.declared import Declared, draw_values
from ansatz.core.errors import PathError, did_you_mean
from ansatz.core.html import html_table
from ansatz.core.initializer import Derived
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.core.paths import Selector, names_of
from ansatz.inspect.difference import change_of
from ansatz.inspect.text import as_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


@dataclasses.dataclass(frozen=True, slots=True)
class DriftRow:
    """How one parameter compares with its initial draw.

    Attributes:
        path: its canonical path.
        initial: whether it is the draw, bit for bit; `None` where no draw can be told, because the
            value was loaded, or given, or because there is none yet.
        largest: the largest absolute difference; NaN if there is a NaN in the value.
        relative: ‖now - draw‖ / ‖draw‖; infinite for a draw of zeros that has moved.
        cosine: the cosine of the angle between both, as vectors; NaN if one of them is zero.
        origin: where the value comes from.
    """

    path: str
    initial: bool | None
    largest: float | None = None
    relative: float | None = None
    cosine: float | None = None
    origin: str = ""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Drift:
    """How the parameters of a network compare with their initial draws. Print it.

    Attributes:
        title: the class of the network.
        rows: one for each distinct parameter, in the order of definition.
        aliases: the canonical paths of tied parameters by their other names, by which rows are
            found, too.
    """

    title: str
    rows: tuple[DriftRow, ...]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[DriftRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, path: str) -> DriftRow:
        for row in self.rows:
            if row.path == self.aliases.get(path, path):
                return row
        paths = [row.path for row in self.rows]
        raise PathError(f"no row is called '{path}'{did_you_mean(path, paths)}")

    def __repr__(self) -> str:
        return as_text(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for header, right in zip(_HEADERS, _RIGHT, strict=True):
            table.add_column(header, justify="right" if right else "left", overflow="fold")
        for row in self.rows:
            style = "" if row.initial is False else "dim"
            table.add_row(*(Text(cell) for cell in _cells(row)), style=style)
        yield Text(self.title, style="bold")
        yield table
        yield Text(self._total())

    def _repr_html_(self) -> str:
        cells = [_cells(row) for row in self.rows]
        return html_table(self.title, _HEADERS, cells, right=_RIGHT, foot=[self._total()])

    def _total(self) -> str:
        still = sum(row.initial is True for row in self.rows)
        moved = sum(row.initial is False for row in self.rows)
        text = f"{still} of {len(self.rows)} still at their initial draw, {moved} moved"
        unknown = len(self.rows) - still - moved
        return f"{text}, {unknown} without one" if unknown else text


_HEADERS = ("path", "initial", "largest", "relative", "cosine", "origin")
_RIGHT = (False, False, True, True, True, False)


def _cells(row: DriftRow) -> tuple[str, ...]:
    numbers = (row.largest, row.relative, row.cosine)
    shown = ["" if number is None else f"{number:.3g}" for number in numbers]
    initial = {True: "yes", False: "moved", None: "–"}[row.initial]
    return (row.path, initial, *shown, row.origin)


@verbs.provide("drift")
def drift(module: Module, select: Selector | None = None) -> Drift:
    """Whether each parameter is still at its initial draw, and how far it has gone.

    The draw is made again from the seed, the path and the initialiser that the parameter remembers,
    one parameter at a time. What was loaded, or was given as an array, has no draw to compare
    with, and its row says so; what was edited is compared with the draw that it replaced, if there
    was one.

    Args:
        module: the network.
        select: only the parameters that this picks.

    Example:
        >>> from ansatz import nn
        >>> from ansatz.inspect import drift
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> report = net.initialize(seed=0)
        >>> net[1].bias.data[:] += 0.5
        >>> [row.path for row in drift(net) if not row.initial]
        ['1.bias']
        >>> drift(net)["1.bias"].largest
        0.5
    """
    parameters = module.collect_params(select).items()
    rows = tuple(_row(path, parameter) for path, parameter in parameters)
    aliases = {alias: names.path for names in names_of(module).values() for alias in names.aliases}
    return Drift(type(module).__name__, rows, aliases)


def _row(path: str, cell: Parameter) -> DriftRow:
    cell = cell.base
    if not cell.has_value:
        return DriftRow(path, None, origin="not initialised yet")
    origin = str(cell.origin)
    value = cell.materialize()  # Not cell.value, which would cost the next step a copy.
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return DriftRow(path, None, origin=f"{origin} (spread over several processes)")
    draw = _draw_of(cell)
    if draw is None:
        return DriftRow(path, None, origin=origin)
    now = np.asarray(value)
    change = change_of(path, np.asarray(draw), now)
    if change is None:
        return DriftRow(path, True, 0.0, 0.0, 1.0, origin)
    if np.isnan(now).any():
        return DriftRow(path, False, math.nan, math.nan, math.nan, origin)
    return DriftRow(path, False, change.largest, change.relative, change.cosine, origin)


def _draw_of(cell: Declared) -> Any:
    """The value that the cell was initialised with, drawn again; `None` if there was no draw."""
    if cell.drawn is None or cell.origin.kind in ("declared", "loaded"):
        return None
    plans = [(cell, cell.drawn)]
    if isinstance(cell.drawn.initializer, Derived):
        source: Declared = cell.drawn.initializer.depends_on
        # It was made from the source as it was then, which only a draw brings back.
        if source.drawn is None or source.origin.kind in ("declared", "loaded"):
            return None
        plans.append((source, source.drawn))
    return draw_values(plans)[0]
