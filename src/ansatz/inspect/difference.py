"""What is different between two sets of named arrays, whatever the formats of their files."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from ansatz.core.progress import ReadProgress
from ansatz.inspect.arrays import Readable, digest_of

_BLOCK = 1 << 20


class Change(NamedTuple):
    """How an array of one name differs.

    Attributes:
        name: its name.
        what: the change of shape or dtype, if there is one; empty if only values changed.
        largest: the largest absolute difference; NaN and infinity count as infinitely far from
            everything but themselves.
        relative: ‖b - a‖ / ‖a‖.
        cosine: the cosine of the angle between both, as vectors.
    """

    name: str
    what: str = ""
    largest: float = 0.0
    relative: float = 0.0
    cosine: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """What is different between two sets of arrays.

    Attributes:
        added: names that only the second has.
        removed: names that only the first has.
        renamed: names of arrays that are equal bit for bit under another name: old, new.
        changed: names that both have, for arrays that differ.
        same: how many arrays are equal.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    changed: tuple[Change, ...]
    same: int

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.renamed or self.changed)


def difference(a: Readable, b: Readable, progress: ReadProgress | None = None) -> Difference:
    """Compare two sets of named arrays, one pair at a time.

    Args:
        a: the first, as `ansatz.checkpoint.open_file` gives it.
        b: the second.
        progress: told each name of either side once, with the bytes of its array (of `a`, if
            both have it).
    """
    changed, same = [], 0
    for name in a.entries:
        if name in b.entries:
            change = _compared(name, a, b)
            if change is None:
                same += 1
            else:
                changed.append(change)
            if progress is not None:
                progress(name, a.entries[name].nbytes)
    removed = [name for name in a.entries if name not in b.entries]
    added = [name for name in b.entries if name not in a.entries]
    renamed = _renamed(a, removed, b, added, progress or (lambda name, nbytes: None))
    gone, come = {old for old, _ in renamed}, {new for _, new in renamed}
    return Difference(
        tuple(name for name in added if name not in come),
        tuple(name for name in removed if name not in gone),
        tuple(renamed),
        tuple(changed),
        same,
    )


def _renamed(
    a: Readable,
    removed: list[str],
    b: Readable,
    added: list[str],
    tell: ReadProgress,
) -> list[tuple[str, str]]:
    """Pairs of equal arrays; only those are read whose shape and dtype occur on both sides."""
    kinds = {_kind(a, name) for name in removed} & {_kind(b, name) for name in added}
    waiting: dict[str, list[str]] = {}
    for name in added:
        if _kind(b, name) in kinds:
            waiting.setdefault(digest_of(b.read(name)), []).append(name)
        tell(name, b.entries[name].nbytes)
    pairs = []
    for name in removed:
        if _kind(a, name) in kinds:
            candidates = waiting.get(digest_of(a.read(name)))
            if candidates:
                pairs.append((name, candidates.pop(0)))
        tell(name, a.entries[name].nbytes)
    return pairs


def _kind(arrays: Readable, name: str) -> tuple[Any, ...]:
    entry = arrays.entries[name]
    return (entry.dtype, entry.shape)


def _compared(name: str, a: Readable, b: Readable) -> Change | None:
    old, new = a.entries[name], b.entries[name]
    if old.shape != new.shape:
        return change_of(name, old, new)
    return change_of(name, a.read(name), b.read(name))


def change_of(name: str, old: Any, new: Any) -> Change | None:
    """How an array differs from what it was; `None` if it does not.

    Args:
        name: its name.
        old: the array as it was; if the shapes differ, only shape and dtype are looked at.
        new: the array as it is.
    """
    if old.shape != new.shape:
        return Change(name, f"shape {old.shape} → {new.shape}", math.inf, math.inf, math.nan)
    what = "" if old.dtype == new.dtype else f"dtype {old.dtype} → {new.dtype}"
    one, two = np.asarray(old).reshape(-1), np.asarray(new).reshape(-1)
    largest, gap, norm, other, dot = 0.0, 0.0, 0.0, 0.0, 0.0
    with np.errstate(all="ignore"):
        for start in range(0, one.size, _BLOCK):
            x, y = _wide(one[start : start + _BLOCK]), _wide(two[start : start + _BLOCK])
            equal = (x == y) | ((x != x) & (y != y))
            far = np.abs(np.where(equal, 0, y - x))
            far = np.where(np.isnan(far), math.inf, far)
            largest = max(largest, float(far.max(initial=0)))
            gap += float(np.square(far).sum())
            norm += float((np.abs(x) ** 2).sum())
            other += float((np.abs(y) ** 2).sum())
            dot += float((x.conj() * y).real.sum())
    if largest == 0 and not what:
        return None
    relative = math.sqrt(gap / norm) if norm else (math.inf if gap else 0.0)
    cosine = dot / math.sqrt(norm * other) if norm and other else math.nan
    return Change(name, what, largest, relative, cosine)


def _wide(block: Any) -> Any:
    complex_numbers = np.issubdtype(block.dtype, np.complexfloating)
    return block.astype(np.complex128 if complex_numbers else np.float64)
