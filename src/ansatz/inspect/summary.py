"""The summary of a network: every layer, parameter and state under each of its names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansatz.core import deferral, verbs
from ansatz.core.declared import Declared
from ansatz.core.errors import PathError, did_you_mean, format_value
from ansatz.core.module import Module
from ansatz.core.node import walk
from ansatz.core.parameter import Parameter
from ansatz.core.paths import Names, names_of
from ansatz.core.watch import Watch, watching
from ansatz.inspect import render
from ansatz.inspect.cost import Cost, cost_of
from ansatz.inspect.rows import Kind, SummaryRow, Totals, collapsed, totals_of
from ansatz.inspect.statistics import moments_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """A table of all parameters and states. Print it, or `rich.print` it for colours.

    Attributes:
        title: the class of the network.
        rows: one for each name, in the order of definition; with inputs, also one for each layer
            that was called, before what it holds.
        totals: sums over all distinct parameters and states.
        layers: the class of the module at each path.
        outputs: what each call of the whole network gave, with `jax.ShapeDtypeStruct` for arrays;
            empty without inputs.
        cost: what one call costs, if that was asked for.
    """

    title: str
    rows: tuple[SummaryRow, ...]
    totals: Totals
    layers: Mapping[str, str]
    outputs: tuple[Any, ...] = ()
    cost: Cost | None = None

    def __iter__(self) -> Iterator[SummaryRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, asked: object) -> bool:
        """Whether a row is called so; a row of another table is equal if all it tells is."""
        return any(asked in (row.path, row) for row in self.rows)

    def __getitem__(self, asked: str | int) -> SummaryRow:
        """The row of a path, or by its number.

        Raises:
            PathError: there is no row of this path; the message suggests near ones.
            IndexError: there are not so many rows.
        """
        if isinstance(asked, int):
            if not -len(self.rows) <= asked < len(self.rows):
                raise IndexError(f"row {asked} is asked for, but the table has {len(self.rows)}")
            return self.rows[asked]
        if not isinstance(asked, str):
            raise TypeError(
                f"a row is asked for by its path or its number, got {format_value(asked)}"
            )
        for row in self.rows:
            if row.path == asked:
                return row
        raise PathError(
            f"no row is called '{asked}'{did_you_mean(asked, [row.path for row in self.rows])}"
        )

    def at_depth(self, depth: int) -> Summary:
        """The same with paths of at most `depth` names; what lies below is added up.

        Raises:
            ValueError: `depth` is less than one.
        """
        if depth < 1:
            raise ValueError(f"depth is the number of names in a path, at least 1; got {depth}")
        return dataclasses.replace(self, rows=tuple(collapsed(self.rows, depth, self.layers)))

    def text(self, width: int = 100) -> str:
        """The table as plain text.

        Args:
            width: how many characters a line may have, from about 60. Columns that do not fit are
                left out, the least important first, and long paths are shortened; what is tied to
                what always shows.
        """
        return "\n".join("".join(t for t, _ in line).rstrip() for line in self._lines(width))

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return render.html(self.title, self.rows, self.totals, outputs=self.outputs, cost=self.cost)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return render.coloured(self._lines(options.max_width))

    def _lines(self, width: int) -> Iterator[list[render.Segment]]:
        return render.lines(
            self.title, self.rows, self.totals, width, outputs=self.outputs, cost=self.cost
        )


@verbs.provide("summary")
def summary(
    module: Module,
    *args: Any,
    depth: int | None = None,
    statistics: bool = True,
    cost: bool = False,
    **kwargs: Any,
) -> Summary:
    """A table of all parameters and states of a network; nothing is computed or drawn for it.

    With inputs, it also tells what each layer gives. A layer that is called several times, or
    stands in several places, has one row with all its outputs: `2 × float32[8, 4]`.

    Args:
        module: the network.
        *args: what its `forward` takes, as arrays or `jax.ShapeDtypeStruct`: from an abstract run
            with them come the outputs, and the shapes that were not known yet. No value is given
            to a parameter, and no state is touched. Without inputs, unknown dimensions are shown as
            `None`.
        depth: show paths of at most so many names, and add up what lies below.
        statistics: false to leave out the mean and standard deviation of values that are there.
        cost: true to compile one call with these inputs, and tell its floating-point operations
            and memory.
        **kwargs: keyword arguments of `forward`. One that is called `depth`, `statistics` or `cost`
            there has to go to `net.settle_shapes` instead.

    Example:
        >>> import jax
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> from ansatz.inspect import summary
        >>> net = nn.Sequential(nn.Dense(4, use_bias=False), nn.Dense(3))
        >>> tied = az.tie(net, "0.weight", "1.weight", transpose=True)
        >>> summary(net, jax.ShapeDtypeStruct((2, 3), "float32"))
        Sequential → float32[2, 3]
        <BLANKLINE>
        path      layer  output         shape   dtype    count  origin
        ────────  ─────  ─────────────  ──────  ───────  ─────  ───────────────────
        0         Dense  float32[2, 4]
        0.weight  Dense                 (4, 3)  float32     12  not initialised yet
        1         Dense  float32[2, 3]
        1.weight  Dense                 (3, 4)  = 0.weight, transposed
        1.bias    Dense                 (3,)    float32      3  not initialised yet
        <BLANKLINE>
        parameters  15, all trained, float32, 60 bytes
    """
    with watching() as watch:
        if args or kwargs:
            deferral.settle(module, args, kwargs, watched=True)
    unreached = "these inputs do not reach it" if args or kwargs else "no input has reached it yet"
    names = names_of(module)
    layers = {"": type(module).__name__}
    firsts: dict[int, str] = {}
    rows = []
    for path, entry in walk(module):
        if isinstance(entry, Module):
            layers.setdefault(path, type(entry).__name__)
            rows += _layer_rows(path, entry, firsts.setdefault(id(entry), path), watch)
        elif isinstance(entry, Declared):
            rows.append(_row(path, entry, names[entry.base], unreached, statistics))
    made = Summary(
        *(type(module).__name__, tuple(rows), totals_of(rows), layers),
        outputs=watch.outputs_of(module),
        cost=cost_of(module, args, kwargs) if cost else None,
    )
    return made if depth is None else made.at_depth(depth)


def _layer_rows(path: str, layer: Module, first: str, watch: Watch) -> list[SummaryRow]:
    outputs = watch.outputs_of(layer)
    if not outputs:
        return []
    row = SummaryRow(path, type(layer).__name__, "layer", None, "", None, 0, entries=0)
    if path != first:
        return [dataclasses.replace(row, shared_with=first)]
    return [dataclasses.replace(row, outputs=outputs)]


def _row(path: str, seen: Declared, names: Names, unreached: str, statistics: bool) -> SummaryRow:
    layer = type(names.layers[names.all.index(path)]).__name__
    others = tuple(name for name in names.all if name != path)
    shape, dtype = seen.shape, str(seen.dtype)
    if path != names.path:
        flipped = (path in names.transposed) ^ (names.path in names.transposed)
        return SummaryRow(
            *(path, layer, _kind(seen), shape, dtype, None, 0),
            aliases=others,
            shared_with=names.path,
            transposed=flipped,
        )
    if seen.is_deferred:
        return SummaryRow(
            path, layer, _kind(seen), shape, dtype, None, 0, origin=unreached, aliases=others
        )
    found = moments_of(seen) if statistics else None
    base = seen.base  # A transposed view tells nothing of its own.
    origin = str(base.origin) if isinstance(base, Declared) else ""
    return SummaryRow(
        *(path, layer, _kind(seen), shape, dtype, seen.size, seen.size * seen.dtype.itemsize),
        mean=found.mean if found else None,
        std=found.std if found else None,
        origin=origin if seen.has_value else "not initialised yet",
        aliases=others,
    )


def _kind(cell: Declared) -> Kind:
    if not isinstance(cell, Parameter):
        return "state"
    return "trained" if cell.trainable else "frozen"
