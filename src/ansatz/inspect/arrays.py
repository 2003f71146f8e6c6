"""Looking into named arrays, one at a time: what is in them, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from ansatz.core.progress import ReadProgress

_BLOCK = 1 << 20  # So many elements are widened to float64 at a time.


class Described(Protocol):
    """What is known of an array before it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> Any:
        """Its dtype."""

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""


class Readable(Protocol):
    """Named arrays that are read when asked for, such as the contents of a file."""

    @property
    def entries(self) -> Mapping[str, Described]:
        """What is known of each before it is read."""

    def read(self, name: str) -> Any:
        """The array called `name`."""


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayRow:
    """What there is to know of one array.

    Attributes:
        name: its name.
        shape: its shape.
        dtype: its dtype.
        size: how many elements it has.
        nbytes: how many bytes it takes.
        mean: the mean of its finite values; `None` if it has none, or has no real numbers.
        std: their standard deviation.
        min: the least of them.
        max: the greatest of them.
        zeros: how many elements are zero.
        nans: how many are NaN.
        infs: how many are infinite.
        constant: whether all elements are equal, of several.
        dead_rows: how many rows (along the first axis) are all zero, of arrays with two axes or
            more.
        digest: equal for arrays of equal shape, dtype and bytes, and for no others.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    nbytes: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    zeros: int = 0
    nans: int = 0
    infs: int = 0
    constant: bool = False
    dead_rows: int = 0
    digest: str = ""


def rows_of(
    arrays: Readable,
    names: Iterable[str] | None = None,
    *,
    values: bool = True,
    progress: ReadProgress | None = None,
) -> Iterator[ArrayRow]:
    """One row for each array; each is read, looked at and forgotten before the next.

    Args:
        arrays: where they are.
        names: which of them; all without it.
        values: false to tell only what is known without reading them.
        progress: told the name and the bytes of each array that was read.
    """
    for name in arrays.entries if names is None else names:
        row = described(name, arrays.entries[name])
        if values:
            row = looked_into(row, arrays.read(name))
            if progress is not None:
                progress(name, row.nbytes)
        yield row


def described(name: str, entry: Described) -> ArrayRow:
    """What is known of an array before it is read."""
    return ArrayRow(name, entry.shape, str(entry.dtype), math.prod(entry.shape), entry.nbytes)


def looked_into(row: ArrayRow, array: Any) -> ArrayRow:
    """The row with everything that only the values tell."""
    host = np.asarray(array, order="C")
    if host.size == 0:
        return dataclasses.replace(row, digest=digest_of(host))
    flat = host.reshape(-1)
    zeros = nans = infs = count = 0
    total = 0.0
    low, high = math.inf, -math.inf
    real = not jnp.issubdtype(host.dtype, jnp.complexfloating)
    constant = host.size > 1
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            constant = constant and bool((block == flat[0]).all())
            wide = block.astype(np.float64 if real else np.complex128)
            zeros += int(np.count_nonzero(wide == 0))
            missing = np.isnan(wide)
            finite = np.isfinite(wide)
            nans += int(np.count_nonzero(missing))
            infs += int(np.count_nonzero(~finite & ~missing))
            if real and finite.any():
                kept = wide[finite]
                count += kept.size
                total += float(kept.sum())
                low, high = min(low, float(kept.min())), max(high, float(kept.max()))
        mean = total / count if count else None
        spread = _spread(flat, mean, count) if mean is not None else None
    return dataclasses.replace(
        row,
        mean=mean,
        std=spread,
        min=low if count else None,
        max=high if count else None,
        zeros=zeros,
        nans=nans,
        infs=infs,
        constant=constant,
        dead_rows=_dead_rows(host) if zeros and host.ndim > 1 else 0,
        digest=digest_of(host),
    )


def _spread(flat: Any, mean: float, count: int) -> float:
    squares = 0.0
    for start in range(0, flat.size, _BLOCK):
        wide = flat[start : start + _BLOCK].astype(np.float64)
        squares += float(np.square(wide[np.isfinite(wide)] - mean).sum())
    return math.sqrt(squares / count)


def _dead_rows(host: Any) -> int:
    rows = host.reshape(host.shape[0], -1)
    step = max(1, _BLOCK // rows.shape[1])
    return sum(
        int(np.count_nonzero(~(rows[start : start + step] != 0).any(axis=1)))
        for start in range(0, len(rows), step)
    )


def digest_of(host: Any) -> str:
    """A name for shape, dtype and bytes."""
    told = hashlib.blake2b(f"{host.dtype}{host.shape}".encode(), digest_size=16)
    told.update(np.ascontiguousarray(host).reshape(-1).view(np.uint8).data)
    return told.hexdigest()


def duplicates(rows: Iterable[ArrayRow]) -> list[tuple[str, ...]]:
    """The names of arrays that are equal, bit for bit; those of one element tell nothing."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.size > 1 and not row.constant and row.digest:
            groups.setdefault(row.digest, []).append(row.name)
    return [tuple(names) for names in groups.values() if len(names) > 1]
