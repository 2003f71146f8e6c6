"""What a layer gave, in a few words: `float32[2, 10]`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ansatz.core.deferral import is_holder
from ansatz.core.errors import format_value

_LISTED = 3  # Different outputs of one layer that are written out.
_LONGEST = 40  # Of what is no array, so many characters are shown.


def calls_in_words(outputs: Sequence[Any]) -> str:
    """The outputs of all calls of a layer; equal ones that follow each other stand once.

    Args:
        outputs: what each call gave, with `jax.ShapeDtypeStruct` for arrays.

    Example:
        >>> import jax
        >>> from ansatz.inspect.outputs import calls_in_words
        >>> x, y = (jax.ShapeDtypeStruct((2, size), "float32") for size in (3, 4))
        >>> calls_in_words([x, x, (y, {"state": x})])
        '2 × float32[2, 3]; (float32[2, 4], {state: float32[2, 3]})'
    """
    parts = []
    for text, same in itertools.groupby(map(in_words, outputs)):
        times = len(list(same))
        parts.append(text if times == 1 else f"{times} × {text}")
    if len(parts) > _LISTED:
        parts[_LISTED:] = [f"… {len(outputs)} calls"]
    return "; ".join(parts)


def in_words(output: Any) -> str:
    """One output, however deep it is nested."""
    if isinstance(output, jax.ShapeDtypeStruct):
        return format_value(output)
    if isinstance(output, Mapping):
        return f"{{{', '.join(f'{key}: {in_words(each)}' for key, each in output.items())}}}"
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        named = zip(output._fields, output, strict=True)
        return _as_call(output, [f"{name}={in_words(each)}" for name, each in named])
    if isinstance(output, tuple):
        return f"({', '.join(map(in_words, output))}{',' if len(output) == 1 else ''})"
    if isinstance(output, list):
        return f"[{', '.join(map(in_words, output))}]"
    if output is None or isinstance(output, bool | int | float | str):
        return repr(output)[:_LONGEST]
    if is_holder(output):
        return type(output).__name__
    leaves = [] if jax.tree_util.all_leaves([output]) else jax.tree.leaves(output)
    return _as_call(output, map(in_words, leaves)) if leaves else type(output).__name__


def _as_call(output: Any, parts: Any) -> str:
    return f"{type(output).__name__}({', '.join(parts)})"
