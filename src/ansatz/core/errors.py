"""Every error and warning of Ansatz, and the helpers that build their messages.

A message names the parameter or layer by its path, says what was found, what was expected, and
what to do next. All errors derive from `AnsatzError`; each also derives from the built-in type
that a caller who does not know Ansatz would catch (`ValueError`, `TypeError`, …).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "AlreadyInitializedWarning",
    "AnsatzError",
    "AnsatzWarning",
    "CheckpointError",
    "DTypeError",
    "DeferredInitializationError",
    "InitializationError",
    "PathError",
    "RecompilationWarning",
    "RuleConflictWarning",
    "ShapeError",
    "StaleParameterWarning",
    "StructureError",
    "TieError",
    "TraceError",
    "UnmatchedRuleWarning",
    "did_you_mean",
    "format_shape",
]


class AnsatzError(Exception):
    """The base of every error that Ansatz raises on purpose."""

    # KeyError quotes its message as if it were a key; our messages are sentences.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DeferredInitializationError(AnsatzError, RuntimeError):
    """A value was needed of a parameter whose shape is not known yet."""


class InitializationError(AnsatzError, ValueError):
    """An initialiser cannot fill the parameter it was chosen for."""


class ShapeError(AnsatzError, ValueError):
    """A shape does not fit a parameter or a layer.

    Attributes:
        cell: the parameter or state that it does not fit, if there is one.
    """

    def __init__(self, message: str, cell: Any = None) -> None:
        super().__init__(message)
        self.cell = cell


class DTypeError(AnsatzError, TypeError):
    """A dtype does not fit a parameter; nothing is ever cast silently."""


class TieError(AnsatzError, ValueError):
    """Two parameters cannot be tied, or one of them is not tied."""


class CheckpointError(AnsatzError, ValueError):
    """A file cannot be read or written, or does not fit the network; nothing has changed."""


class TraceError(AnsatzError, RuntimeError):
    """A cell was written, or a module was passed, where a JAX trace would lose it."""


class PathError(AnsatzError, KeyError):
    """No parameter, state or module stands at this path."""


class StructureError(AnsatzError, ValueError):
    """A module was put together in a way that cannot be tracked."""


class AnsatzWarning(UserWarning):
    """The base of every warning of Ansatz."""


class StaleParameterWarning(AnsatzWarning):
    """A parameter was read inside a plain JAX trace, which keeps its value as a constant."""


class UnmatchedRuleWarning(AnsatzWarning):
    """A rule or selector matched no parameter."""


class RuleConflictWarning(AnsatzWarning):
    """Two rules select the same tied parameter under different names."""


class AlreadyInitializedWarning(AnsatzWarning):
    """An initialisation changed nothing because all values were there already."""


class RecompilationWarning(AnsatzWarning):
    """A compiled function is traced again and again because a module keeps changing."""


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """A hint such as `; did you mean '0.weight'?`, or an empty string where nothing is near.

    Args:
        name: what was asked for.
        known: what there is.
        cutoff: how alike two names have to be, from 0 to 1.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=2, cutoff=cutoff)
    if not near:
        return ""
    near.sort(key=lambda found: difflib.SequenceMatcher(None, name, found).ratio(), reverse=True)
    return "; did you mean " + " or ".join(repr(candidate) for candidate in near) + "?"


def format_shape(shape: Sequence[int | None] | None) -> str:
    """A shape as text, with `None` for a dimension that is not known yet."""
    return "unknown" if shape is None else str(tuple(shape))


def format_function(function: Any) -> str:
    """What a function is called, or the type of anything else that is called."""
    return getattr(function, "__qualname__", None) or type(function).__name__


def format_value(value: Any) -> str:
    """What was given: dtype and shape of an array, also of one that is traced, or the value."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"{dtype}{list(shape)}"
    if isinstance(value, Mapping):
        keys = ", ".join(map(repr, list(value)[:_PARTS])) or "nothing"
        more = ", …" if len(value) > _PARTS else ""
        return f"a {type(value).__name__} with {keys}{more}"
    if isinstance(value, tuple | list):
        parts = ", ".join(map(format_value, value[:_PARTS]))
        more = ", …" if len(value) > _PARTS else ""
        return f"a {type(value).__name__} of {len(value)} ({parts}{more})"
    text = " ".join(repr(value).split())[:40]  # A module, say, takes several lines.
    return f"{text} of type {type(value).__name__}" if value is not None else "None"


_PARTS = 4
