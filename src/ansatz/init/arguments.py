"""Checks of what initialisers are built with, so that a mistake shows where it was written."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ansatz.core.errors import InitializationError, did_you_mean


def number(owner: str, name: str, value: Any) -> float:
    """`value` as a float.

    Raises:
        InitializationError: it is not a real number, or it is NaN.
    """
    is_scalar = np.ndim(value) == 0 and not isinstance(value, str | bytes | bool | np.bool)
    try:
        converted = float(value) if is_scalar else math.nan
    except (TypeError, ValueError):
        converted = math.nan
    if math.isnan(converted):
        raise InitializationError(f"{name} of {owner} must be a number, got {value!r}")
    return converted


def finite(owner: str, name: str, value: Any) -> float:
    """`value` as a finite float.

    Raises:
        InitializationError: it is not a finite real number.
    """
    converted = number(owner, name, value)
    if math.isinf(converted):
        raise InitializationError(f"{name} of {owner} must be finite, got {value!r}")
    return converted


def not_negative(owner: str, name: str, value: Any) -> float:
    """`value` as a finite float of at least zero.

    Raises:
        InitializationError: it is not a finite real number, or it is negative.
    """
    converted = finite(owner, name, value)
    if converted < 0:
        raise InitializationError(f"{name} of {owner} must not be negative, got {value!r}")
    return converted


def count(owner: str, name: str, value: Any) -> int:
    """`value` as an integer of at least one.

    Raises:
        InitializationError: it is not an integer, or it is below one.
    """
    try:
        converted = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        converted = 0
    if converted < 1:
        raise InitializationError(
            f"{name} of {owner} must be an integer of at least 1, got {value!r}"
        )
    return converted


def positive(owner: str, name: str, value: Any) -> float:
    """`value` as a finite float above zero.

    Raises:
        InitializationError: it is not a finite real number above zero.
    """
    converted = finite(owner, name, value)
    if converted <= 0:
        raise InitializationError(
            f"{name} of {owner} must be greater than zero, got {value!r}; "
            "init.Zeros() and init.Constant(value) give all elements one value"
        )
    return converted


def interval(owner: str, names: tuple[str, str], low: Any, high: Any) -> tuple[float, float]:
    """Two bounds as floats; they may be infinite.

    Raises:
        InitializationError: one is not a number, or the lower is not below the upper.
    """
    lower, upper = number(owner, names[0], low), number(owner, names[1], high)
    if not lower < upper:
        raise InitializationError(
            f"{names[0]} of {owner} must be less than {names[1]}, "
            f"got {names[0]}={low!r} and {names[1]}={high!r}"
        )
    return lower, upper


def one_of(owner: str, name: str, value: Any, known: Sequence[str]) -> str:
    """`value` in lower case.

    Raises:
        InitializationError: it is none of the known names.
    """
    wanted = value.lower() if isinstance(value, str) else value
    if wanted not in known:
        hint = did_you_mean(wanted, known) if isinstance(wanted, str) else ""
        raise InitializationError(
            f"{name} of {owner} must be one of {', '.join(map(repr, known))}; got {value!r}{hint}"
        )
    return str(wanted)
