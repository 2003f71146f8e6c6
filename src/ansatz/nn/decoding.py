"""Decoding: running a network piece by piece over a sequence that grows.

A causal network sees, at each position, only what came before. So the keys and values of earlier
positions need not be computed again: each attention layer keeps them in a *cache*, and each layer
that depends on positions counts how many it has seen. `decoding` gives all layers of a network
such states for a while; the network itself is called as ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, StructureError
from ansatz.core.module import Module
from ansatz.core.parameter import State
from ansatz.nn.sizes import checked_size

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Positioned(Module):
    """A layer that has to know at which position of a sequence its input begins.

    Attributes:
        position: while decoding, a state that holds how many positions were seen; else `None`.
    """

    position: State | None = None
    capacity: int = 0

    def open_cache(self, batch: int, length: int, dtype: DTypeLike | None) -> None:
        """Begin to count positions, up to `length` of them."""
        self.position = State(jnp.zeros((), "int32"), optional=True)
        self.capacity = length

    def close_cache(self) -> None:
        """Forget the count."""
        del self.position, self.capacity

    def take(self, length: int) -> jax.Array | int:
        """Where an input of `length` positions begins; the next one begins behind it.

        Raises:
            ShapeError: there is no room for so many. A compiled call cannot raise; the rows
                beyond the end are NaN there (see `marked`).
        """
        if self.position is None:
            return 0
        start: jax.Array = self.position.value
        seen = None if isinstance(start, jax.core.Tracer) else int(start)
        if length > self.capacity or (seen is not None and seen + length > self.capacity):
            raise ShapeError(
                f"decoding was opened for {self.capacity} positions, of which "
                f"{'an unknown number' if seen is None else seen} are taken, so there is no room "
                f"for {length} more; open it for more: nn.decoding(net, batch, length)"
            )
        self.position.value = start + length
        return start

    def marked(self, y: jax.Array, start: jax.Array | int, axis: int) -> jax.Array:
        """`y`, whose positions run along `axis` and begin at `start`, with NaN beyond the end."""
        if self.position is None:
            return y
        fits = start + jnp.arange(y.shape[axis]) < self.capacity
        fits = jnp.expand_dims(fits, [other for other in range(y.ndim) if other != axis % y.ndim])
        return jnp.where(fits, y, jnp.asarray(jnp.nan, y.dtype))


@contextlib.contextmanager
def decoding(
    net: Module, batch: int, length: int, dtype: DTypeLike | None = None
) -> Iterator[None]:
    """Let `net` continue, on each call, the sequence of the calls before.

    Within the `with`, a call takes the next positions only (the prompt at first, then token after
    token) and gives what one call on the whole sequence would give for them. Causal attention
    layers keep keys and values, layers that add or rotate by positions count on; all in states,
    which `az.jit` updates in place. At the end they are gone, and so is their memory. A second
    `with` of the same sizes starts anew, without compiling anew.

    Layers are found by their methods `open_cache(batch, length, dtype)` and `close_cache()`, which
    a layer of your own may have as well.

    Args:
        net: a network whose attention is causal.
        batch: the number of sequences.
        length: the number of positions that there is room for.
        dtype: the dtype of the kept keys and values; by default that of each layer's parameters.

    Raises:
        StructureError: no layer of `net` keeps anything, or decoding is under way already.
        ShapeError: when called with another batch size, or when the room is used up. A compiled
            call, which cannot raise for values, gives NaN beyond the end.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> attention = nn.MultiHeadAttention(8, 2, causal=True)
        >>> x = jax.random.normal(jax.random.key(0), (1, 5, 8))
        >>> whole = attention(x)
        >>> step = az.jit(lambda net, x: net(x))
        >>> with nn.decoding(attention, batch=1, length=5):
        ...     pieces = [step(attention, x[:, i : i + 1]) for i in range(5)]
        >>> bool(jnp.allclose(jnp.concatenate(pieces, 1), whole, atol=1e-6))
        True
    """
    batch, length = checked_size("batch", batch), checked_size("length", length)
    layers: list[Any] = [module for module in net.modules() if hasattr(module, "open_cache")]
    kept = [layer for layer in layers if getattr(layer, "causal", True)]
    if not any(hasattr(layer, "causal") for layer in kept):
        raise StructureError(
            f"{type(net).__name__} has no causal attention, so nothing can be decoded piece by "
            "piece; build it with causal=True"
        )
    if any(getattr(layer, "position", None) is not None for layer in kept):
        raise StructureError(
            f"{type(net).__name__} is decoding already; leave the first nn.decoding(…) before"
        )
    opened: list[Any] = []
    try:
        for layer in kept:
            layer.open_cache(batch, length, dtype)
            opened.append(layer)
        yield
    finally:
        for layer in opened:
            layer.close_cache()
