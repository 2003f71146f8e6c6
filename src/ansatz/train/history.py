"""What `fit` returns: one record per epoch, which prints as a small table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from rich.table import Table


@dataclasses.dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch.

    Attributes:
        number: counted from 1.
        loss: the mean over the steps of the epoch, each measured before its update.
        validation: the metrics after the epoch by name; empty if nothing was validated.
        seconds: the duration of training and validation.
        steps: how many steps were made.
    """

    number: int
    loss: float
    validation: dict[str, float]
    seconds: float
    steps: int


class History(Sequence[Epoch]):
    """The epochs of one `fit`.

    Attributes:
        interrupted: true if Ctrl-C ended the training; the last record may then be of an epoch
            that was not completed.

    Example:
        >>> from ansatz.train import Epoch, History
        >>> history = History([Epoch(1, 0.75, {"accuracy": 0.5}, 2.0, steps=10)])
        >>> history.losses, history[-1].validation["accuracy"]
        ([0.75], 0.5)
        >>> history
        epoch  loss  val accuracy  seconds
            1  0.75           0.5     2.00
    """

    def __init__(self, epochs: Iterable[Epoch] = (), *, interrupted: bool = False) -> None:
        self._epochs = list(epochs)
        self.interrupted = interrupted

    def append(self, epoch: Epoch) -> None:
        """Add the record of an epoch."""
        self._epochs.append(epoch)

    @overload
    def __getitem__(self, index: int) -> Epoch: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Epoch | History:
        if isinstance(index, slice):
            return History(self._epochs[index], interrupted=self.interrupted)
        return self._epochs[index]

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs)

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch."""
        return [epoch.loss for epoch in self._epochs]

    @property
    def seconds(self) -> float:
        """The duration of all epochs."""
        return sum(epoch.seconds for epoch in self._epochs)

    def _cells(self) -> list[list[str]]:
        names = list(dict.fromkeys(name for epoch in self for name in epoch.validation))
        head = ["epoch", "loss", *(f"val {name}" for name in names), "seconds"]
        rows = [
            [
                str(epoch.number),
                _number(epoch.loss),
                *(_number(epoch.validation[n]) if n in epoch.validation else "" for n in names),
                f"{epoch.seconds:.2f}",
            ]
            for epoch in self
        ]
        return [head, *rows]

    def __repr__(self) -> str:
        rows = self._cells()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
        return "\n".join([*lines, "(interrupted)"] if self.interrupted else lines)

    def __rich__(self) -> Table:
        head, *rows = self._cells()
        table = Table(caption="interrupted" if self.interrupted else None)
        for title in head:
            table.add_column(title, justify="right")
        for row in rows:
            table.add_row(*row)
        return table


def _number(value: float) -> str:
    return f"{value:.4g}"
