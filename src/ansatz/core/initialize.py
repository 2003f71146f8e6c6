"""Initialisation by rule: who decides, and the report of who did.

From strong to weak: `parameter.initialize(init)`; a rule given to `initialize` that selects the
parameter; the `init=` with which its layer declared it; the single default given to `initialize`;
the layer's fallback.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from typing import Any

from ansatz.core import random
from ansatz.core.cell import Cell
from ansatz.core.declared import Declared, Planned, carry_out, drawing, refuse_in_trace
from ansatz.core.errors import (
    AlreadyInitializedWarning,
    RuleConflictWarning,
    UnmatchedRuleWarning,
)
from ansatz.core.initializer import Initializer, as_initializer
from ansatz.core.node import Node, cells_of, declared_in, root_of
from ansatz.core.parameter import Parameter
from ansatz.core.paths import Names, Selector, matches, names_of, warn_unmatched


@dataclasses.dataclass(frozen=True, slots=True)
class InitEntry:
    """What happened to one parameter or state.

    Attributes:
        path: its canonical path.
        status: `"initialised"`, `"deferred"` (will be, once its shape is known) or `"kept"`.
        initializer: what fills it; `None` for one that was kept.
        reason: who chose the initialiser.
    """

    path: str
    status: str
    initializer: Initializer | None
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class InitReport(Mapping[str, InitEntry]):
    """What `initialize` did, by path.

    Attributes:
        seed: the seed of the event; `initialize(seed=report.seed)` repeats it.
    """

    entries: dict[str, InitEntry]
    seed: int

    def __getitem__(self, path: str) -> InitEntry:
        return self.entries[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def count(self, status: str) -> int:
        """How many entries have this status."""
        return sum(entry.status == status for entry in self.entries.values())

    def __repr__(self) -> str:
        width = max((len(path) for path in self.entries), default=0)
        lines = [
            f"  {entry.path:<{width}}  {entry.status:<11}  {entry.initializer!r}  ({entry.reason})"
            for entry in self.entries.values()
            if entry.status != "kept"
        ]
        kept = self.count("kept")
        if kept:
            lines.append(f"  {kept} kept their values (force_reinit=True draws them again)")
        head = f"initialised {self.count('initialised')}, deferred {self.count('deferred')}"
        return "\n".join([f"{head}, seed {self.seed}", *lines])


def initialize(
    root: Node,
    init: Any = None,
    *,
    seed: int | None = None,
    force_reinit: bool = False,
    only: Set[Cell] | None = None,
) -> InitReport:
    """Initialise the parameters and states below `root`; see `Module.initialize`."""
    refuse_in_trace(type(root).__name__, force_reinit)
    rules: dict[Any, Initializer] = {}
    default: Initializer | None = None
    if isinstance(init, Mapping):
        rules = {selector: as_initializer(choice) for selector, choice in init.items()}
    elif init is not None:
        default = as_initializer(init)
    with drawing:
        names = {
            cell: found
            for cell, found in names_of(root).items()
            if isinstance(cell, Declared) and (only is None or cell in only)
        }
        seed = random.seeds.next() if seed is None else random.as_seed(seed)
        idle = dict.fromkeys(rules)
        decided_by: dict[Any, dict[Any, None]] = {}
        plans: dict[Declared, Planned] = {}
        kept: list[Declared] = []
        for cell, found in names.items():
            chosen, matched = _matching(rules, found, cell)
            selector = chosen[0] if chosen else None
            for each in chosen:
                idle.pop(each, None)
            for each in matched:
                decided_by.setdefault(each, {})[selector] = None
            if cell.has_value and not force_reinit:
                kept.append(cell)
            elif cell._planned is not None and cell._planned.alone and not force_reinit:
                plans[cell] = cell._planned
            elif selector is not None:
                reason = f"rule {_spelled(selector)}"
                plans[cell] = Planned(rules[selector], seed, cell.drawn_as(found.path), reason)
            else:
                plans[cell] = cell.choose(default, seed, found.path)
        carry_out(plans)
    for selector in idle:
        if selector in decided_by:
            earlier = " and ".join(map(_spelled, decided_by[selector]))
            warnings.warn(
                f"the rule {_spelled(selector)} sets nothing: every parameter that it selects is "
                f"decided by {earlier}, which stands before it; the first rule wins",
                UnmatchedRuleWarning,
                stacklevel=4,
            )
            continue
        remark = ""
        if isinstance(selector, type):
            remark = " (a type selects what its modules leave open, the weights; use a glob else)"
        known = {found.path: None for found in names.values()}
        warn_unmatched(selector, known, remark, stacklevel=5)
    if default is not None and only is not None:
        _warn_unused(default, plans)
    if kept and not plans and init is not None:
        warnings.warn(
            f"all {len(kept)} parameters of {type(root).__name__} are initialised already and "
            "keep their values; pass force_reinit=True to draw them again",
            AlreadyInitializedWarning,
            stacklevel=4,
        )
    return InitReport(
        {found.path: _entry(cell, found.path, plans.get(cell)) for cell, found in names.items()},
        seed,
    )


def _warn_unused(default: Initializer, plans: Mapping[Declared, Planned]) -> None:
    """Warn of a default for chosen parameters that none of them is open to.

    For a whole network it is the rule that a default yields to what layers declare; who has picked
    out parameters means these.
    """
    chosen = [plan.initializer for cell, plan in plans.items() if isinstance(cell, Parameter)]
    if chosen and default not in chosen:
        warnings.warn(
            f"{default!r} sets nothing: each of the {len(chosen)} selected parameters has an "
            "initialiser of its own, declared by its layer or given before, and a default yields "
            "to that. A rule is stronger: net.initialize({'*.bias': …})",
            UnmatchedRuleWarning,
            stacklevel=5,
        )


def _entry(cell: Declared, path: str, planned: Planned | None) -> InitEntry:
    if planned is None:
        return InitEntry(path, "kept", None, str(cell.origin))
    status = "initialised" if cell.has_value else "deferred"
    return InitEntry(path, status, planned.initializer, planned.reason)


def _matching(
    rules: Mapping[Any, Initializer], names: Names, cell: Declared
) -> tuple[list[Any], list[Any]]:
    """The first rule for each name of the parameter, the winner first; and all that select it."""
    if not isinstance(cell, Parameter):
        return [], []  # Rules leave states alone.
    chosen: dict[str, Selector] = {}
    matched = []
    for selector in rules:
        if isinstance(selector, type) and cell.init is not None:
            continue
        for name in matches(selector, names, cell):
            chosen.setdefault(name, selector)
            matched.append(selector)
    winners = sorted(dict.fromkeys(chosen.values()), key=list(rules).index)
    others = [name for name, selector in chosen.items() if rules[selector] != rules[winners[0]]]
    if others:
        first, other = winners[0], chosen[others[0]]
        warnings.warn(
            f"two rules select the tied parameter '{names.path}' (also {', '.join(names.aliases)})"
            f" and differ: {_spelled(first)} gives {rules[first]!r}, {_spelled(other)} gives "
            f"{rules[other]!r} for '{others[0]}'. It is initialised once, by the first rule.",
            RuleConflictWarning,
            stacklevel=5,
        )
    return winners, matched


def _spelled(selector: Any) -> str:
    if isinstance(selector, type):
        return selector.__name__
    return repr(getattr(selector, "pattern", selector))


def plan_first_call(node: Node) -> None:
    """Give every cell below `node` that nobody initialised its place in the event of its root.

    Of the root, and not of the node that happens to be called first, so that the values do not
    depend on which that is.
    """
    waiting = [cell for cell in declared_in(node) if not cell.has_value]
    drawn_alike = Counter((c._planned.seed, c._planned.path) for c in waiting if c._planned)
    if not waiting or (len(waiting) == len(drawn_alike) == drawn_alike.total()):
        return
    root = root_of(node)
    paths = cells_of(root)
    if not paths.keys() >= set(waiting):  # The node was taken out of the root.
        root, paths = node, cells_of(node)
    for cell in waiting:
        if cell._planned is None:
            cell.plan(cell.choose(None, root._take_event_seed(), paths[cell]))
        elif drawn_alike[cell._planned.seed, cell._planned.path] > 1:
            # Copies of one layer that was initialised before it knew its shape.
            cell.plan(cell._planned._replace(path=cell.drawn_as(paths[cell])))
