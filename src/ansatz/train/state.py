"""Optimizer states, keyed by the paths of the parameters that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import (
    DictKey,
    KeyEntry,
    keystr,
    tree_leaves_with_path,
    tree_map_with_path,
)

from ansatz.train.errors import TrainingError


def fresh(state: Any) -> Any:
    """`state` in buffers of its own, which a compiled step may reuse for the next state.

    What an optimizer's `init` returns may be the parameters themselves, or an array of the user's.
    """

    def own(leaf: Any) -> jax.Array:
        array = jnp.asarray(leaf)
        # Not `array.copy()`, which compiles a program for each new shape. Without a device, what
        # is on several devices stays there, and a counter may still go wherever it is needed.
        copied: jax.Array = jax.device_put(array, may_alias=False)
        return copied

    return jax.tree.map(own, state)


def carry_over(old: Any, new: Any, came_from: Mapping[str, str | None]) -> Any:
    """`new` with every entry taken from `old` that belongs to the same parameter.

    Step counters, which belong to none, are taken too. An entry is left as it is in `new` if its
    parameter was not there before, or if it has another shape.

    Args:
        old: the state until now.
        new: a fresh state for the parameters as they are now.
        came_from: for each path of now, where its parameter stood in `old`.
    """
    known = dict(tree_leaves_with_path(old))

    def pick(place: tuple[KeyEntry, ...], leaf: Any) -> Any:
        before = known.get(_earlier(place, came_from))
        if before is None or jnp.shape(before) != jnp.shape(leaf):
            return leaf
        # The dtype differs only where the user has cast the parameter in between.
        return before if before.dtype == leaf.dtype else before.astype(leaf.dtype)

    return tree_map_with_path(pick, new)


def like(current: Any, new: Any) -> Any:
    """`new` as arrays, if it has the structure, the shapes and the dtypes of `current`.

    Numbers take the dtype of what they replace.

    Raises:
        TrainingError: it has not; the message names the entries.
    """
    expected = dict(tree_leaves_with_path(current))
    given = dict(tree_leaves_with_path(new))
    wrong = [f"missing {keystr(place)}" for place in expected if place not in given]
    wrong += [f"unexpected {keystr(place)}" for place in given if place not in expected]
    wrong += [
        f"{keystr(place)} of shape {jnp.shape(leaf)} and dtype {jnp.result_type(leaf)}, expected "
        f"shape {expected[place].shape} and dtype {expected[place].dtype}"
        for place, leaf in given.items()
        if place in expected and not _fits(leaf, expected[place])
    ]
    if wrong:
        raise TrainingError(
            f"the optimizer state does not fit this trainer: {'; '.join(wrong)}. Nothing changed."
        )
    return jax.tree.map(lambda old, leaf: jnp.asarray(leaf, old.dtype), current, new)


def _fits(leaf: Any, expected: jax.Array) -> bool:
    same_dtype = not hasattr(leaf, "dtype") or leaf.dtype == expected.dtype
    return jnp.shape(leaf) == expected.shape and same_dtype


def _earlier(
    place: tuple[KeyEntry, ...], came_from: Mapping[str, str | None]
) -> tuple[KeyEntry, ...]:
    return tuple(
        DictKey(came_from.get(entry.key, entry.key)) if isinstance(entry, DictKey) else entry
        for entry in place
    )
