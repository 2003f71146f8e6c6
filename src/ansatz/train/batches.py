"""Batches: arrays cut along their first axis, and what the loops accept in their place."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ansatz.core import random
from ansatz.core.deferral import is_array
from ansatz.core.errors import ShapeError, format_function, format_value
from ansatz.core.spelling import hinted
from ansatz.train.errors import TrainingError

Batch = tuple[Any, Any]
BatchSource = Iterable[Batch] | Callable[[int], Iterable[Batch]]
"""What can be gone through once per epoch, or a function from the epoch (0, 1, …) to that."""


class Batches:
    """Batches of arrays, in a new order each time they are gone through. See `batches`.

    Attributes:
        batch_size: how many examples a batch holds.
        seed: from which the orders follow.
        epoch: how often the batches were begun.
    """

    def __init__(
        self, x: Any, y: Any, batch_size: int, *, shuffle: bool, seed: int | None, drop_last: bool
    ) -> None:
        size: Any = batch_size
        if not isinstance(size, int | np.integer) or size < 1:
            raise TrainingError(
                f"a batch holds a whole number of examples, at least one, got batch_size={size!r}"
            )
        if not jax.tree.leaves(x):
            raise TrainingError(f"batches are cut from arrays, got x={x!r}")
        self._data = tuple(jax.tree.map(_as_host_array, (x, y), is_leaf=_is_list))
        self._size = _common_length(self._data)
        if drop_last and self._size < batch_size:
            raise TrainingError(
                f"with drop_last=True and batch_size={batch_size} no batch is left of "
                f"{self._size} examples; take smaller batches or drop_last=False"
            )
        self.batch_size = batch_size
        self.seed = random.seeds.next() if seed is None else random.as_seed(seed)
        self.epoch = 0
        self._shuffle = shuffle
        self._drop_last = drop_last

    def __len__(self) -> int:
        """The number of batches."""
        if self._drop_last:
            return self._size // self.batch_size
        return math.ceil(self._size / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self._order(self.epoch)
        self.epoch += 1
        return self._cut(order)

    def _order(self, epoch: int) -> Any:
        if not self._shuffle:
            return np.arange(self._size)
        # Sorting draws: unlike `permutation`, the bits of `random` are the same in every NumPy.
        return np.argsort(
            random.generator(self.seed, "batches", epoch).random(self._size), kind="stable"
        )

    def _cut(self, order: Any) -> Iterator[Batch]:
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            if not self._shuffle:
                chosen = slice(start, start + self.batch_size)
            x, y = jax.tree.map(lambda array, rows=chosen: array[rows], self._data)
            yield x, y

    def __repr__(self) -> str:
        return f"Batches({self._size} examples, {len(self)} of {self.batch_size})"


@hinted("batches(x, y, 32) cuts both along their first axis")
def batches(
    x: Any,
    y: Any,
    batch_size: int,
    *,
    shuffle: bool = True,
    seed: int | None = None,
    drop_last: bool = False,
) -> Batches:
    """Cut arrays into batches that can be gone through once per epoch.

    Args:
        x: inputs of shape `(examples, …)`, or a tuple or dict of such arrays.
        y: targets of shape `(examples, …)`, likewise.
        batch_size: examples per batch; the last batch may be smaller, which costs a compiled step
            one more trace.
        shuffle: whether each epoch has an order of its own.
        seed: two objects with the same seed give the same orders, epoch by epoch; without one, the
            next of the global stream (`az.seed`). After a stop, assign to `epoch` of the result
            how many epochs were trained before.
        drop_last: leave a smaller last batch out.

    Raises:
        ShapeError: the arrays differ in their number of examples.
        TrainingError: there are no examples, or no batch.

    Example:
        >>> import numpy as np
        >>> from ansatz.train import batches
        >>> data = batches(np.arange(5.0), np.arange(5), 2, shuffle=False)
        >>> len(data)
        3
        >>> [y.tolist() for x, y in data]
        [[0, 1], [2, 3], [4]]
    """
    return Batches(x, y, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last)


def begin(source: BatchSource, epoch: int, what: str) -> Iterator[Batch]:
    """Begin to go through the batches of one epoch.

    Args:
        source: an iterable, or a function from the epoch to one.
        epoch: counted from 0.
        what: what the batches are for, for messages.

    Raises:
        TrainingError: there is none, or one is not a pair `(x, y)`.
    """
    given: Any = source
    if not isinstance(source, Iterable) and callable(source):
        _check_takes_epoch(source, what)
        given = source(epoch)
    if is_array(given):
        raise TrainingError(
            f"the batches to {what} are pairs (x, y), got the array {format_value(given)}; cut "
            "arrays into batches by train.batches(x, y, batch_size)"
        )
    if not isinstance(given, Iterable) or isinstance(given, str | Mapping):
        raise TrainingError(
            f"the batches to {what} are an iterable of pairs (x, y), or a function from the epoch "
            f"to one; got {format_value(given)}. Arrays are cut by train.batches(x, y, batch_size)"
        )
    found = False
    for batch in given:
        found = True
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise TrainingError(
                f"a batch to {what} is a pair (x, y), got {format_value(batch)}. Several inputs go "
                "into one tuple: ((x1, x2), y)"
            )
        yield batch[0], batch[1]
    if not found:
        raise TrainingError(_why_empty(given, epoch, what))


def _check_takes_epoch(source: Callable[..., Any], what: str) -> None:
    try:
        signature = inspect.signature(source)
    except ValueError:
        return  # Written in C; only the call can tell.
    try:
        signature.bind(0)
    except TypeError:
        raise TrainingError(
            f"a function that makes the batches to {what} is called with the epoch (0, 1, …), but "
            f"{format_function(source)} takes {signature}: write lambda epoch: …"
        ) from None


def refuse_generator(source: BatchSource, epochs: int, what: str) -> None:
    """Refuse, before anything was done, what can be gone through once but is needed more often.

    Raises:
        TrainingError: `source` is a generator and there are several epochs.
    """
    if isinstance(source, types.GeneratorType) and epochs > 1:
        raise TrainingError(
            f"the batches to {what} are a generator, which is used up after the first of "
            f"{epochs} epochs. {_ADVICE}"
        )


def example_count(x: Any) -> int:
    """The number of examples in a batch: the length of the first axis of its first array."""
    leaves = jax.tree.leaves(x)
    return int(np.shape(leaves[0])[0]) if leaves and np.ndim(leaves[0]) else 1


_ADVICE = (
    "Pass what can be gone through again (a list, train.batches(x, y, batch_size)), or a function "
    "that makes the batches of each epoch: lambda epoch: make_batches()."
)


def _why_empty(given: Any, epoch: int, what: str) -> str:
    if epoch == 0:
        return f"there are no batches to {what}: {type(given).__name__} gave none"
    return (
        f"there are no batches to {what} in epoch {epoch + 1}: {type(given).__name__} gave none, "
        f"probably because it was used up before. {_ADVICE}"
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _as_host_array(value: Any) -> Any:
    return np.asarray(value)


def _common_length(data: Any) -> int:
    arrays = jax.tree.leaves(data)
    if any(array.ndim == 0 for array in arrays):
        raise ShapeError("x and y are arrays of shape (examples, …), but one is a single number")
    lengths = list(dict.fromkeys(len(array) for array in arrays))
    if len(lengths) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ShapeError(
            f"x and y differ in their number of examples, the length of the first axis: {shapes}"
        )
    if not lengths or not lengths[0]:
        raise TrainingError("there are no examples to make batches of")
    return int(lengths[0])
