"""Saving a network: each distinct parameter and state once, with all its names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansatz.checkpoint.claims import Target, targets_of
from ansatz.checkpoint.formats import Format, format_for
from ansatz.checkpoint.ties import FORMAT, TIES, Alias, Ties, encode
from ansatz.core import frame, verbs
from ansatz.core.declared import materialize_all
from ansatz.core.errors import (
    CheckpointError,
    DeferredInitializationError,
    TraceError,
    format_value,
)
from ansatz.core.module import Module
from ansatz.core.paths import Selector
from ansatz.core.spelling import hinted


@verbs.provide("save")
@hinted()
def save(
    module: Module,
    path: str | os.PathLike[str],
    *,
    select: Selector | None = None,
    metadata: Mapping[str, str] | None = None,
    aliases: bool = False,
) -> None:
    """Write the parameters and states of a network to a file, whole or not at all.

    The ending of the name decides the format: `.safetensors`, `.npz` or another of
    `ansatz.checkpoint.formats`; a name without any is a file of safetensors. A tied parameter is
    written once, under its canonical path; the metadata tell its other names, to Ansatz and to what
    reads the files of PyTorch's `save_model` (in a format without metadata it is written under each
    name). Values that were never drawn are drawn first. Equal contents give equal bytes.

    Args:
        module: the network.
        path: the file; an existing one is replaced in one step, and stays as it was if anything
            fails.
        select: write only the parameters and states that this picks: a glob over paths, a compiled
            regular expression, a module type or a predicate `f(path, cell)`.
        metadata: text by name to store with them.
        aliases: true to write a tied parameter under each of its names with bytes of its own, for
            programs that know nothing of ties.

    Raises:
        DeferredInitializationError: shapes are unknown; the message names every such path.
        CheckpointError: the file cannot express a name, dtype or metadata, `select` picks nothing,
            or the suffix belongs to a format that is only read.
        TraceError: called inside a JAX transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> from ansatz.checkpoint import load, save
        >>> net = nn.Sequential(nn.Dense(4), nn.Dense(2))
        >>> y = net(jnp.ones((1, 3)))
        >>> save(net, "net.safetensors")
        >>> fresh = nn.Sequential(nn.Dense(4), nn.Dense(2))
        >>> load(fresh, "net.safetensors")
        loaded 4 of 4 from 'net.safetensors' into Sequential: 2 match, 2 settled
          settled  0.weight  (4, None)  float32  now (4, 3)
          settled  1.weight  (2, None)  float32  now (2, 4)
        >>> bool((fresh(jnp.ones((1, 3))) == y).all())
        True
    """
    target_format = format_for(path)
    _check_metadata_kept(target_format, metadata, path)
    if frame.current() is not None or not frame.at_top_level():
        raise TraceError(
            "a network cannot be saved inside a JAX transformation (az.jit, jax.jit, …), where its "
            "values are not known; save it afterwards"
        )
    targets = targets_of(module, select)
    _check_settled(targets)
    materialize_all(target.cell for target in targets)
    # Where a tie cannot be told, every name needs bytes of its own.
    aliases = aliases or not target_format.keeps_metadata
    arrays = {name: array for target in targets for name, array in _arrays(target, aliases)}
    described = encode(_ties(targets), arrays)
    target_format.save(os.fspath(path), arrays, _joined(metadata or {}, described))


def _check_metadata_kept(
    target: Format, metadata: Mapping[str, str] | None, path: str | os.PathLike[str]
) -> None:
    if not isinstance(metadata, Mapping | None):
        raise TypeError(
            f"metadata is text by name, {{'name': 'text'}}, got {format_value(metadata)}"
        )
    if metadata and not target.keeps_metadata:
        raise CheckpointError(
            f"{os.fspath(path)!r} was not written: {target.name} cannot hold metadata; use "
            ".safetensors, or leave them out"
        )


def _check_settled(targets: list[Target]) -> None:
    waiting = [target.names.path for target in targets if target.cell.is_deferred]
    if waiting:
        raise DeferredInitializationError(
            f"nothing was saved: the shapes of {', '.join(map(repr, waiting))} are not known yet, "
            "because no call has reached them. Pass one batch through the network, or call "
            "net.initialize(example=jax.ShapeDtypeStruct(shape, dtype)); to save the rest, pass "
            "select=lambda path, cell: not cell.is_deferred."
        )


def _arrays(target: Target, aliases: bool) -> list[tuple[str, Any]]:
    # Not cell.value, which would have the next training step copy it instead of donating it.
    value = target.cell.materialize()
    names = target.names.all if aliases else target.names.all[:1]
    return [(name, value.T if name in target.names.transposed else value) for name in names]


def _ties(targets: list[Target]) -> Ties:
    return {
        target.names.path: tuple(
            Alias(name, (name in target.names.transposed) ^ target.flipped)
            for name in target.names.aliases
        )
        for target in targets
        if target.names.aliases
    }


def _joined(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    for key in given:
        if key in own or key in (FORMAT, TIES):
            raise CheckpointError(
                f"metadata cannot be called {key!r}, which says how parameters are tied; choose "
                "another name"
            )
    return {**given, **own}
