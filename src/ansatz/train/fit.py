"""The training loop: epochs, validation, progress, and what ends them early.

The loop never waits for a step that was just started: losses are fetched when they are there, and
all of them at the end of an epoch. So it is as fast as a bare loop of steps.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import jax
import numpy as np

from ansatz.core.module import Module
from ansatz.train.batches import BatchSource, begin, refuse_generator
from ansatz.train.errors import NonFiniteLossWarning, TrainingError
from ansatz.train.history import Epoch, History
from ansatz.train.interrupt import PatientInterrupt
from ansatz.train.metrics import Metric, check_metrics
from ansatz.train.progress import ProgressBar

_FETCH_EVERY = 256
_LEFT_RUNNING = 32  # How many steps XLA lets a program run ahead; older ones are done.


class Trainable(Protocol):
    """What the loop needs of a trainer."""

    @property
    def net(self) -> Module:
        """The network."""

    def step(self, x: Any, y: Any) -> jax.Array:
        """Train on one batch."""

    def evaluate(
        self, batches: BatchSource, metrics: Mapping[str, Metric] | None = None, *, epoch: int = 0
    ) -> dict[str, float]:
        """Measure on all batches."""


def fit(
    trainer: Trainable,
    batches: BatchSource,
    *,
    epochs: int,
    validate: BatchSource | None,
    metrics: Mapping[str, Metric] | None,
    progress: bool,
) -> History:
    """Train for some epochs; see `Trainer.fit`."""
    count: Any = epochs
    if not isinstance(count, int | np.integer) or count < 1:
        raise TrainingError(f"epochs is a whole number, at least 1, got {count!r}: epochs=5")
    check_metrics(metrics)
    if metrics and validate is None:
        raise TrainingError(
            f"metrics ({', '.join(metrics)}) are measured after each epoch on the batches of "
            "validate=, which is missing; validate=batches measures those that are trained on"
        )
    refuse_generator(batches, epochs, "train on")
    if validate is not None:
        refuse_generator(validate, epochs, "validate on")
    history = History()
    losses = _Losses()
    with (
        # A part that the user switched to evaluation stays so, unless all of it is.
        nullcontext() if trainer.net.training else in_mode(trainer.net, training=True),
        ProgressBar(epochs, wanted=progress) as bar,
        PatientInterrupt() as interrupt,
    ):
        for epoch in range(epochs):
            began = time.perf_counter()
            validation: dict[str, float] = {}
            losses.begin(epoch)
            bar.begin(epoch + 1, batches)
            try:
                for x, y in begin(batches, epoch, "train on"):
                    with interrupt.held:
                        losses.add(trainer.step(x, y))
                    if bar.is_due:
                        bar.show(losses.steps, losses.mean(wait=False))
                mean = losses.mean()
                bar.show(losses.steps, mean)
                if validate is not None:
                    validation = trainer.evaluate(validate, metrics, epoch=epoch)
                    bar.show(losses.steps, mean, note=_in_words(validation))
            except KeyboardInterrupt:
                history.interrupted = True
            if losses.steps:
                seconds = time.perf_counter() - began
                history.append(Epoch(epoch + 1, losses.mean(), validation, seconds, losses.steps))
            if history.interrupted:
                break
    return history


@contextmanager
def in_mode(net: Module, *, training: bool) -> Iterator[None]:
    """Switch a network to training or evaluation, and each of its modules back afterwards."""
    before = [(module, module.training) for module in net.modules()]
    net.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


class _Losses:
    """The losses of an epoch, of which the latest may still be being computed."""

    def __init__(self) -> None:
        self._before = 0
        self._epoch = 0
        self._warned = False
        self._running: list[jax.Array] = []
        self._known: list[float] = []

    @property
    def steps(self) -> int:
        return len(self._known) + len(self._running)

    def begin(self, epoch: int) -> None:
        self._before += self.steps
        self._epoch = epoch
        self._running, self._known = [], []

    def add(self, loss: jax.Array) -> None:
        self._running.append(loss)
        if len(self._running) > _FETCH_EVERY:
            self._fetch(len(self._running) - _LEFT_RUNNING)

    def mean(self, *, wait: bool = True) -> float:
        """The mean of the losses: of all, or of those that are there without waiting."""
        ready = len(self._running)
        if not wait:
            ready = next((i for i, loss in enumerate(self._running) if not _is_there(loss)), ready)
        self._fetch(ready)
        return math.fsum(self._known) / len(self._known) if self._known else math.nan

    def _fetch(self, count: int) -> None:
        fetched = [loss.item() for loss in self._running[:count]]
        if not self._warned and not np.isfinite(fetched).all():
            self._warned = True
            self._warn(fetched)
        self._known += fetched
        del self._running[:count]

    def _warn(self, fetched: list[float]) -> None:
        first = next(i for i, loss in enumerate(fetched) if not math.isfinite(loss))
        batch = len(self._known) + first + 1
        warnings.warn(
            f"the loss is {fetched[first]} at step {self._before + batch} (epoch "
            f"{self._epoch + 1}, batch {batch}). A smaller learning rate or clipped gradients, "
            "optax.chain(optax.clip_by_global_norm(1.0), …), may help; "
            "labels outside of the classes give NaN as well. "
            "jax.config.update('jax_debug_nans', True) finds the operation that makes a NaN.",
            NonFiniteLossWarning,
            stacklevel=7,
        )


def _is_there(loss: Any) -> bool:
    return bool(loss.is_ready())  # `jax.Array`, an abstract class, does not declare it.


def _in_words(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"val {name} {value:.4g}" for name, value in metrics.items())
