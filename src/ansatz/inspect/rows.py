"""What a summary says: a row for each layer and each name of a parameter or state, and totals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Kind = Literal["layer", "trained", "frozen", "state", "mixed"]


@dataclasses.dataclass(frozen=True, slots=True)
class SummaryRow:
    """What is known of one parameter or state under one of its names, or of one layer.

    Attributes:
        path: the name.
        layer: the class of the module that holds it, or that it is.
        kind: `"trained"`, `"frozen"` or `"state"`; `"mixed"` for several in one row; `"layer"` for
            a layer that was called, which stands before what it holds.
        shape: the shape as seen under this name, with `None` for what is not known yet; `None`
            altogether for a layer, and for several in one row.
        dtype: the dtype, or several, separated by commas.
        count: the number of elements; `None` while it is not known, and in rows that only point to
            the canonical path, where what is tied counts.
        nbytes: the bytes that these elements take.
        mean: the mean of the values, if there are any.
        std: their standard deviation.
        origin: where the value comes from, or what it waits for.
        aliases: the other names.
        shared_with: the canonical path, if this row is one of the other names.
        transposed: whether this name sees the transposed value of `shared_with`.
        entries: how many parameters and states this row stands for.
        outputs: for a layer, what each call of it gave, with `jax.ShapeDtypeStruct` for arrays.
    """

    path: str
    layer: str
    kind: Kind
    shape: tuple[int | None, ...] | None
    dtype: str
    count: int | None
    nbytes: int
    mean: float | None = None
    std: float | None = None
    origin: str = ""
    aliases: tuple[str, ...] = ()
    shared_with: str | None = None
    transposed: bool = False
    entries: int = 1
    outputs: tuple[Any, ...] = ()

    @property
    def trainable(self) -> bool:
        """Whether gradients are taken and updates applied."""
        return self.kind == "trained"


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """Sums in which what is tied counts once.

    Attributes:
        trainable: elements of parameters that are trained.
        frozen: elements of parameters that are not.
        states: elements of states.
        parameter_bytes: bytes of all parameters.
        state_bytes: bytes of all states.
        dtypes: the dtypes of parameters, most elements first.
        deferred: what is not known yet and so not counted: the reason by path.
    """

    trainable: int
    frozen: int
    states: int
    parameter_bytes: int
    state_bytes: int
    dtypes: tuple[str, ...]
    deferred: dict[str, str]

    @property
    def parameters(self) -> int:
        """Elements of all parameters."""
        return self.trainable + self.frozen


def totals_of(rows: Sequence[SummaryRow]) -> Totals:
    """The sums over rows that each stand for one name."""
    own = [row for row in rows if row.shared_with is None and row.kind != "layer"]
    elements = {"trained": 0, "frozen": 0, "state": 0}
    nbytes = dict(elements)
    by_dtype: dict[str, int] = {}
    for row in own:
        elements[row.kind] += row.count or 0
        nbytes[row.kind] += row.nbytes
        if row.kind != "state":
            by_dtype[row.dtype] = by_dtype.get(row.dtype, 0) + (row.count or 0)
    return Totals(
        elements["trained"],
        elements["frozen"],
        elements["state"],
        nbytes["trained"] + nbytes["frozen"],
        nbytes["state"],
        tuple(sorted(by_dtype, key=lambda dtype: -by_dtype[dtype])),
        {row.path: row.origin for row in own if row.count is None},
    )


def collapsed(
    rows: Sequence[SummaryRow], depth: int, layers: Mapping[str, str]
) -> list[SummaryRow]:
    """The rows with paths of at most `depth` names; what lies below is added up.

    Args:
        rows: rows that each stand for one name.
        depth: how many names a path may have.
        layers: the class of the module at each path.
    """
    groups: dict[str, list[SummaryRow]] = {}
    for row in rows:
        groups.setdefault(_cut(row.path, depth), []).append(row)
    return [
        group[0] if _is_whole(group, path) else _added_up(path, group, depth, layers)
        for path, group in groups.items()
    ]


def _is_whole(group: Sequence[SummaryRow], path: str) -> bool:
    """Whether a group is one parameter, or a layer that holds none."""
    return group[0].path == path and all(row.kind == "layer" for row in group[1:])


def _cut(path: str, depth: int) -> str:
    return ".".join(path.split(".")[:depth])


def _container(path: str, group: Sequence[SummaryRow]) -> str:
    """What holds the rows of a group at whose path no layer is."""
    keys = [row.path[len(path) + 1 :].split(".")[0] for row in group]
    return "list" if all(key.isdigit() for key in keys) else "dict"


def _added_up(
    path: str, group: list[SummaryRow], depth: int, layers: Mapping[str, str]
) -> SummaryRow:
    outputs = group[0].outputs if group[0].path == path else ()
    group = [row for row in group if row.kind != "layer"]
    own = [row for row in group if row.shared_with is None]
    kinds = {row.kind for row in own or group}
    known = [row.count for row in own if row.count is not None]
    elsewhere = {_cut(row.shared_with, depth) for row in group if row.shared_with} - {path}
    remarks = [f"{len(own) - len(known)} not known yet"] if len(known) < len(own) else []
    if elsewhere and own:
        remarks.append("shares with " + ", ".join(sorted(elsewhere)))
    return SummaryRow(
        path,
        layers.get(path) or _container(path, group),
        kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "layer",
        None,
        ", ".join(dict.fromkeys(row.dtype for row in own)),
        sum(known) if known else None,
        sum(row.nbytes for row in own),
        origin="; ".join(remarks),
        shared_with=None if own else ", ".join(sorted(elsewhere)) or None,
        entries=len(group),
        outputs=outputs,
    )
