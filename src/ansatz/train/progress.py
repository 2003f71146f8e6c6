"""The live progress bar of `fit`; it stays silent where nobody watches a terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sized
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

_REFRESH_SECONDS = 0.2


class ProgressBar:
    """Epoch, batch, loss and rate on the error stream, redrawn a few times a second.

    Args:
        epochs: how many epochs there are.
        wanted: false to show nothing.
    """

    def __init__(self, epochs: int, *, wanted: bool) -> None:
        self._epochs = epochs
        self._bar: Progress | None = None
        self._next = 0.0
        self._note = ""
        # Asked of the stream itself: FORCE_COLOR makes rich take a log file for a terminal.
        console = Console(stderr=True)
        if wanted and console.is_interactive and console.file.isatty():
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}  {task.fields[rate]} batches/s"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", style="dim"),
                console=console,
                auto_refresh=False,  # A thread that draws would compete with the training loop.
                redirect_stdout=sys.stdout.isatty(),
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._task = self._bar.add_task(
                "", total=None, epoch=1, epochs=self._epochs, loss="…", rate="…", note=""
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.stop()

    @property
    def is_due(self) -> bool:
        """Whether it is time to draw the bar anew."""
        return self._bar is not None and time.perf_counter() >= self._next

    def begin(self, epoch: int, batches: Any) -> None:
        """Show the beginning of an epoch, counted from 1."""
        if self._bar is None:
            return
        total = len(batches) if isinstance(batches, Sized) else None
        self._began = time.perf_counter()
        self._bar.update(self._task, total=total, completed=0, epoch=epoch)

    def show(self, steps: int, loss: float, *, note: str | None = None) -> None:
        """Say how far the epoch has come; it is drawn if it is time to, and in the end.

        Args:
            steps: batches done in this epoch.
            loss: the mean loss of the epoch as far as it is known.
            note: what stands behind, until it is replaced.
        """
        if self._bar is None:
            return
        self._note = self._note if note is None else note
        now = time.perf_counter()
        self._bar.update(
            self._task,
            completed=steps,
            loss="…" if math.isnan(loss) else f"{loss:.4f}",
            rate=f"{steps / max(now - self._began, 1e-9):.0f}",
            note=self._note,
        )
        if now >= self._next:
            self._next = now + _REFRESH_SECONDS
            self._bar.refresh()
