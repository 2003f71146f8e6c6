"""Ctrl-C that waits for the end of a step, so that a network is never left half updated."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class PatientInterrupt:
    """While open, an interrupt that comes inside `with interrupt.held:` is carried out after it.

    A second interrupt is carried out at once. Outside of the main thread, where Python delivers no
    signals, and where the program handles interrupts in a way of its own, this does nothing.
    """

    def __init__(self) -> None:
        self.held = _Held()
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if previous is signal.default_int_handler:
                self._previous = previous
                signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _on_interrupt(self, number: int, at: FrameType | None) -> None:
        if self.held.active and not self.held.pending:
            self.held.pending = True
            return
        self.held.pending = False
        raise KeyboardInterrupt


class _Held:
    """A stretch of code that an interrupt waits for."""

    __slots__ = ("active", "pending")

    def __init__(self) -> None:
        self.active = False
        self.pending = False

    def __enter__(self) -> None:
        self.active = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.active = False
        if self.pending:
            self.pending = False
            if kind is None:
                raise KeyboardInterrupt
