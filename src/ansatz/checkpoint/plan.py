"""The load plan: match, check, commit.

Everything that can go wrong is found before anything changes. The plan says what would happen to
each parameter; committing it either does all of that or raises one error.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import numpy as np

from ansatz.checkpoint import hints, values
from ansatz.checkpoint.claims import Claim, Target, match, notes_on_ties, targets_of
from ansatz.checkpoint.parallel import in_order
from ansatz.checkpoint.rename import Rename
from ansatz.checkpoint.report import LoadReport, LoadRow
from ansatz.checkpoint.source import Source, Stored, from_file, from_mapping
from ansatz.core import frame, random, verbs
from ansatz.core.declared import Declared, Origin, carry_out, drawing
from ansatz.core.errors import CheckpointError, TraceError, format_shape
from ansatz.core.module import Module
from ansatz.core.paths import Selector
from ansatz.core.shapes import merge_shapes
from ansatz.core.spelling import hinted

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

OnShape = Literal["error", "skip", "reinitialise"]
"""What becomes of a parameter that has another shape in the file."""


@dataclasses.dataclass(slots=True)
class _Assignment:
    """A checked value that waits for the commit."""

    cell: Declared
    path: str
    shape: tuple[int, ...]
    dtype: Any
    entry: str
    transposed: bool
    value: Any = None


class _Place(NamedTuple):
    """Where a parameter stood when the load was planned."""

    cell: Declared
    names: tuple[str, ...]
    transposed: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class LoadPlan:
    """What loading would do; nothing has changed yet.

    Attributes:
        report: one row for each parameter, and for each entry that fits none.

    Example:
        >>> import numpy as np
        >>> from ansatz import nn
        >>> from ansatz.checkpoint import plan_load
        >>> net = nn.Sequential(nn.Dense(3, in_units=2))
        >>> plan = plan_load(net, {"0.weight": np.ones((3, 4), "float32"), "0.bais": np.ones(3)})
        >>> plan
        would load 0 of 2 from the state dict into Sequential: 1 missing, 1 unexpected, 1 shape
          shape       0.weight  (3, 2)  float32  ! (3, 4) in the file, (3, 2) in the network
          missing     0.bias    (3,)    float32  ! did you mean '0.bais'?
          unexpected  0.bais                     ! did you mean '0.bias'?
        >>> plan.ok
        False
    """

    report: LoadReport
    _source: Source
    _assignments: tuple[_Assignment, ...]
    _redrawn: tuple[tuple[Declared, str], ...]
    _module: Module
    _select: Selector | None
    _places: list[_Place]

    @property
    def ok(self) -> bool:
        """Whether `commit` would load."""
        return not self.report.faults

    def commit(self) -> LoadReport:
        """Load everything, or raise and change nothing.

        Raises:
            CheckpointError: the message says what is wrong; `report` has every fault.
            TraceError: called inside a JAX transformation.
        """
        if self.report.faults:
            raise CheckpointError(self.report.complaint())
        if frame.current() is not None or not frame.at_top_level():
            raise TraceError(
                "a network cannot be loaded inside a JAX transformation (az.jit, jax.jit, …); load "
                "it before"
            )
        with drawing:
            self._check_unchanged()
            read, found = [], {}
            for assignment, (value, odd) in zip(self._assignments, self._read(), strict=True):
                read.append(value)
                found[assignment.path] = odd
            placed = values.place(read, [assignment.cell for assignment in self._assignments])
            self._draw_anew()
            for assignment, given, value in zip(self._assignments, read, placed, strict=True):
                # Who loads a state dict may go on holding its JAX arrays, and device_put may
                # share their buffers; nobody holds the arrays of a file.
                fresh = not isinstance(given, jax.Array)
                name = self._source.entries[assignment.entry].name
                origin = Origin("loaded", f"from {self._source.origin} as '{name}'")
                assignment.cell.settle(value, origin, fresh=fresh)
                assignment.cell.drop_grad()  # It was the gradient of another value.
        return self._report_on(found)

    def _read(self) -> Iterator[tuple[Any, str]]:
        """Each value, and what is NaN or infinite in it."""

        def one(assignment: _Assignment) -> tuple[Any, str]:
            value = self._value_of(assignment)
            # At once, while it is in the processor's cache.
            return value, values.not_finite(value)

        sizes = (a.dtype.itemsize * math.prod(a.shape) for a in self._assignments)
        return in_order(one, self._assignments, sum(sizes) if self._source.concurrent else 0)

    def _draw_anew(self) -> None:
        """What had no value yet is drawn at its first use, as ever."""
        cells = [(cell, path) for cell, path in self._redrawn if cell.has_value]
        if cells:
            seed = random.seeds.next()
            carry_out({cell: cell.choose(None, seed, path) for cell, path in cells})

    def _check_unchanged(self) -> None:
        now = _places_of(targets_of(self._module, self._select))
        if now != self._places:
            raise CheckpointError(
                f"{_what_changed(self._places, now)} since the load was planned, and nothing was "
                "loaded; plan it again"
            )
        for assignment in self._assignments:
            cell = assignment.cell
            shape_fits = merge_shapes(cell.shape, assignment.shape) is not None
            if not shape_fits or cell.dtype != assignment.dtype:
                raise CheckpointError(
                    f"'{assignment.path}' has shape {format_shape(cell.shape)} and dtype "
                    f"{cell.dtype} now, which it had not when the load was planned; plan it again"
                )

    def _report_on(self, found: Mapping[str, str]) -> LoadReport:
        """What was done, and which of the values are NaN or infinite."""
        rows = tuple(
            _noted(row, found.get(row.path, "")) if row.loads else row for row in self.report
        )
        return dataclasses.replace(self.report, rows=rows, done=True)

    def _value_of(self, assignment: _Assignment) -> Any:
        if assignment.value is not None:
            return assignment.value
        raw = self._source.read(assignment.entry)
        return values.converted(raw, assignment.dtype, transposed=assignment.transposed)

    def __repr__(self) -> str:
        return repr(self.report)

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        return self.report._repr_html_()


@verbs.provide("plan_load")
@hinted()
def plan_load(
    module: Module,
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    select: Selector | None = None,
    strict: bool = True,
    cast: bool | DTypeLike = False,
    finite: bool = False,
    rename: Rename | None = None,
    on_shape: OnShape = "error",
) -> LoadPlan:
    """Find out what loading would do, without doing it.

    Args:
        module: the network to load into.
        source: a file of any format, or arrays by name.
        select: load only the parameters and states that this picks; entries of the file that give
            none of them are left out.
        strict: false to leave what is missing as it is and to skip what is unexpected. A wrong
            shape or dtype is refused all the same.
        cast: true to convert to the dtype of each parameter; a dtype to convert to that one only.
            Complex numbers are never cut to real ones, nor fractions to integers.
        finite: true to refuse NaN and infinity.
        rename: the names, and where a `Rule` says so the layouts, that the network has for those of
            the file; see `ansatz.checkpoint.rename`.
        on_shape: what becomes of a parameter that has another shape in the file: `"error"`,
            `"skip"` to leave it as it is, or `"reinitialise"` to draw it anew, as for a new head.

    Raises:
        CheckpointError: the source cannot be read, or `select` picks nothing.
    """
    found = from_file(source) if isinstance(source, str | os.PathLike) else from_mapping(source)
    found = found.renamed(rename)
    targets = targets_of(module, select)
    match(targets, found)
    policy = values.Policy.of(cast, finite=finite)
    checker = _Checker(found, policy, _checked_choice(on_shape), strict=strict)
    rows, assignments = checker.check(targets)
    used = {claim.entry for target in targets for claim in target.claims}
    rest = [name for name in found.entries if name not in used]
    missing = [row.path for row in rows if row.status == "missing"]
    rows = [_with_hint(row, rest, len(missing)) for row in rows]
    if select is None:
        known = missing or [name for target in targets for name in target.names.all]
        rows.extend(_unexpected(name, found, known, len(rest), strict=strict) for name in rest)
        rest = []
    left_out = [*(found.entries[name].name for name in rest), *found.left_out]
    rows.extend(LoadRow(name, "left out", entries=(name,)) for name in left_out)
    report = LoadReport(tuple(rows), found.label, type(module).__name__)
    again = tuple((t.cell, t.names.path) for t in checker.redrawn)
    places = _places_of(targets)
    report = _with_total_miss(report)
    return LoadPlan(report, found, tuple(assignments), again, module, select, places)


def _places_of(targets: list[Target]) -> list[_Place]:
    return [_Place(t.cell, t.names.all, t.names.transposed) for t in targets]


def _what_changed(planned: list[_Place], now: list[_Place]) -> str:
    """Of the parameters that are not as they were planned, the first, in words."""
    before = {name: place for place in planned for name in place.names}
    after = {name: place for place in now for name in place.names}
    for name in {**before, **after}:
        if name not in after:
            return f"'{name}' has gone"
        if name not in before:
            return f"'{name}' has come"
        if before[name].cell is not after[name].cell:
            return f"'{name}' has become another parameter"
        if before[name] != after[name]:
            return f"the ties of '{name}' have changed"
    return "the order of the parameters has changed"


def _checked_choice(on_shape: OnShape) -> OnShape:
    if on_shape not in ("error", "skip", "reinitialise"):
        raise ValueError(f"on_shape is 'error', 'skip' or 'reinitialise', got {on_shape!r}")
    return on_shape


def _with_hint(row: LoadRow, candidates: list[str], rivals: int) -> LoadRow:
    if row.status != "missing":
        return row
    hint = hints.near(row.path, candidates, rivals)
    return _noted(row, hint) if hint else row


def _unexpected(
    name: str, source: Source, known: list[str], rivals: int, *, strict: bool
) -> LoadRow:
    hint = hints.near(name, known, rivals)
    return LoadRow(source.entries[name].name, "unexpected", strict, (name,), note=hint)


def _with_total_miss(report: LoadReport) -> LoadReport:
    """Refuse a load that loads nothing, also where missing entries are allowed."""
    missing, unexpected = report.missing_keys, report.unexpected_keys
    if any(row.loads for row in report) or not (missing and unexpected):
        return report
    rows = tuple(
        dataclasses.replace(row, fault=row.fault or row.status in ("missing", "unexpected"))
        for row in report
    )
    return dataclasses.replace(report, rows=rows)


class _Checker:
    """Checks that entries fit their parameters, and says in which way they do not."""

    def __init__(
        self, source: Source, policy: values.Policy, on_shape: OnShape, *, strict: bool
    ) -> None:
        self._source = source
        self._policy = policy
        self._on_shape = on_shape
        self._strict = strict
        self.redrawn: list[Target] = []

    def check(self, targets: list[Target]) -> tuple[list[LoadRow], list[_Assignment]]:
        notes, faults = notes_on_ties(targets, self._source)
        rows, assignments = [], []
        for i, target in enumerate(targets):
            row, assignment = self._check_one(target, notes.get(i, ""), faults.get(i, ""))
            rows.append(row)
            if assignment is not None:
                assignments.append(assignment)
        return rows, assignments

    def _check_one(
        self, target: Target, note: str, fault: str
    ) -> tuple[LoadRow, _Assignment | None]:
        cell = target.cell
        row = LoadRow(
            target.names.path,
            "match",
            entries=tuple(dict.fromkeys(claim.entry for claim in target.claims)),
            shape=_seen(cell.shape, target),
            dtype=str(cell.dtype),
            note=note,
        )
        if not target.claims:
            if target.optional:
                return dataclasses.replace(row, status="optional"), None
            missing = dataclasses.replace(row, status="missing", fault=self._strict)
            return _noted(missing, target.also), None
        if fault:
            return dataclasses.replace(row, status="tie conflict", fault=True, note=fault), None
        row, shape = self._with_shapes(row, target)
        if row.fault and self._on_shape == "skip":
            return dataclasses.replace(row, status="kept", fault=False), None
        if row.fault and self._on_shape == "reinitialise":
            self.redrawn.append(target)
            return dataclasses.replace(row, status="reinitialised", fault=False), None
        row = self._with_dtypes(row, target)
        if row.fault:
            return row, None
        first = target.claims[0]
        assignment = _Assignment(cell, row.path, shape, cell.dtype, first.entry, first.transposed)
        row = self._with_values(row, target, assignment)
        if not row.fault and target.absent:
            absent = " and ".join(map(repr, target.absent))
            row = _noted(row, f"also fills {absent}, which the file does not name")
        return row, assignment

    def _with_shapes(self, row: LoadRow, target: Target) -> tuple[LoadRow, tuple[int, ...]]:
        shape = target.cell.shape
        for claim in target.claims:
            stored = self._source.entries[claim.entry]
            seen = stored.shape[::-1] if claim.transposed else stored.shape
            merged = merge_shapes(shape, seen)
            if merged is None:
                network = shape[::-1] if claim.transposed else shape
                fits = merge_shapes(network, stored.shape[::-1]) is not None
                turned = f"; Rule({stored.name!r}, transpose=True) as rename would make it fit"
                return _faulty(
                    row,
                    "shape",
                    f"{format_shape(stored.shape)} in the file{_under(stored, row)}, "
                    f"{format_shape(network)} in the network{turned if fits else ''}",
                ), ()
            shape = merged
        settled = tuple(size for size in shape if size is not None)
        if target.cell.shape != settled:
            now = f"now {format_shape(_seen(settled, target))}"
            row = _noted(dataclasses.replace(row, status="settled"), now)
        return row, settled

    def _with_dtypes(self, row: LoadRow, target: Target) -> LoadRow:
        wanted = target.cell.dtype
        for claim in target.claims:
            stored = self._source.entries[claim.entry]
            if stored.dtype == wanted or (
                stored.weak and np.can_cast(stored.dtype, wanted, "same_kind")
            ):
                continue
            what = f"{stored.dtype} in the file{_under(stored, row)}, {wanted} in the network"
            objection = self._policy.objection(stored.dtype, wanted)
            if objection:
                row = _faulty(row, "dtype", f"{what}; {objection}")
            elif not row.fault:
                row = _noted(dataclasses.replace(row, status="cast"), what)
        return row

    def _with_values(self, row: LoadRow, target: Target, assignment: _Assignment) -> LoadRow:
        """Look at values only where a policy or several names ask for it."""
        wanted = target.cell.dtype
        first, *others = target.claims
        if not (others or self._policy.finite or row.status == "cast"):
            return row
        raw = self._source.read(first.entry)
        value = assignment.value = values.converted(raw, wanted, transposed=first.transposed)
        for other in others:
            rival = self._source.read(other.entry)
            rival = values.converted(rival, wanted, transposed=other.transposed)
            difference = values.largest_difference(value, rival)
            if difference is not None:
                return _faulty(row, "tie conflict", self._conflict(first, other, difference))
        problem = values.lost_by_conversion(raw, value) or self._policy.refused_values(value)
        return _faulty(row, "value", problem) if problem else row

    def _conflict(self, first: Claim, other: Claim, difference: float) -> str:
        if first.entry == other.entry:
            return (
                f"the file and the network both tie '{first.name}' and '{other.name}', but only "
                "one of them transposes the value; tie them alike (az.tie, az.untie)"
            )
        one, two = (self._source.entries[claim.entry].name for claim in (first, other))
        return (
            f"'{one}' and '{two}' are one parameter in the network, but in the file they differ by "
            f"up to {difference:.6g}; leave one of them out, rename={{'{two}': None}}, or give the "
            f"network two parameters, az.untie(net, '{other.name}')"
        )


def _seen(shape: tuple[int | None, ...], target: Target) -> tuple[int | None, ...]:
    """A shape of the cell as it is seen under the canonical path."""
    return shape[::-1] if target.flipped else shape


def _under(stored: Stored, row: LoadRow) -> str:
    return "" if stored.name == row.path else f" (as '{stored.name}')"


def _noted(row: LoadRow, note: str) -> LoadRow:
    return dataclasses.replace(row, note="; ".join(filter(None, (row.note, note))))


def _faulty(row: LoadRow, status: Any, note: str) -> LoadRow:
    """The row with one more fault; the first gives the status."""
    if row.fault:
        return _noted(row, note)
    return dataclasses.replace(row, status=status, fault=True, note=note)
