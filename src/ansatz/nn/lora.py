"""Low-rank adapters: train a few numbers beside weights that stay as they are."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

import jax

from ansatz.core.errors import StructureError
from ansatz.core.initializer import FanInUniform
from ansatz.core.module import Module
from ansatz.core.parameter import Parameter
from ansatz.core.parametrize import Weight, attach, bake
from ansatz.core.parametrized import Parametrized
from ansatz.core.paths import Selector
from ansatz.core.spelling import hinted
from ansatz.nn.parametrizations import rows_and_columns
from ansatz.nn.sizes import checked_size

M = TypeVar("M", bound=Module)


@hinted()
def lora(
    net: M,
    select: Selector,
    *,
    rank: int = 8,
    alpha: float | None = None,
    freeze: bool = True,
) -> M:
    """Put low-rank adapters on weights, and freeze all the rest: `w + alpha / rank · b a`.

    A weight of shape `(out, in, *kernel)` gets `lora_a` of shape `(rank, in · kernel)` and `lora_b`
    of shape `(out, rank)`, which add `rank · (out + in · kernel)` parameters. `lora_b` starts at
    zero, so the network computes at first what it did before; `lora_a` is drawn from
    U(±1/√(in · kernel)). `ansatz.merge` adds what was learned to the weights.

    The adapters have paths such as `layers.0.query.parametrizations.weight.0.lora_a`, so
    `net.save(path, select="*lora*")` writes them alone.

    Source: Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1.

    Args:
        net: the network.
        select: which layers or weights: a glob such as `"*.query"`, a type of layer, or any
            other selector of `ansatz.parametrize`. Selected parameters of fewer than two
            dimensions, such as biases, are left out.
        rank: the inner width of the adapters.
        alpha: what the adapters are scaled by, times `rank`; by default `rank`, for a scale of one.
        freeze: whether all parameters of `net` that are no adapters are taken out of training;
            `net.unfreeze("head.*")` puts some back.

    Returns:
        `net`.

    Raises:
        PathError: nothing is selected.
        StructureError: a weight has an adapter already.

    Example:
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = nn.Sequential(nn.Dense(64, in_units=64), nn.Dense(10, in_units=64))
        >>> net = az.lora(net, "0", rank=2)
        >>> [path for path, p in net.collect_params().items() if p.trainable]
        ['0.parametrizations.weight.0.lora_a', '0.parametrizations.weight.0.lora_b']
        >>> list(az.merge(net).collect_params())
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """
    rank = checked_size("rank", rank)
    if rank < 1:
        raise ValueError("the rank of an adapter is at least 1, got 0")
    scale = 1.0 if alpha is None else float(alpha) / rank

    def build(weight: Weight) -> Module:
        if isinstance(weight, Parametrized) and any(isinstance(s, LoRA) for s in weight.steps):
            raise StructureError(
                f"{weight.describe()} has an adapter already; az.merge(net) adds it to the weight, "
                "az.unparametrize(net, leave_parametrized=False) drops it"
            )
        return LoRA(weight, rank, scale)

    attach(net, select, build, least_ndim=2)
    if freeze:
        adapters = {
            parameter
            for module in net.modules()
            if isinstance(module, LoRA)
            for parameter in module.parameters()
        }
        net.freeze(lambda _, parameter: parameter not in adapters)
    return net


def merge(net: M, select: Selector | None = None) -> M:
    """Add what adapters have learned to the weights, and take the adapters away.

    The network computes the same as before, at the cost of before `lora`. What was frozen stays
    frozen; `net.unfreeze()` puts it back into training.

    Args:
        net: the network.
        select: which weights; without it, all that have adapters.

    Returns:
        `net`.

    Raises:
        PathError: nothing that is selected has an adapter.
        DeferredInitializationError: a shape is not known yet; nothing was changed.
        StructureError: the weight is computed otherwise as well, without a right inverse.

    Example:
        >>> import jax.numpy as jnp
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> net = az.lora(nn.Dense(4, in_units=4), "weight", rank=1)
        >>> net.weight.steps[0].lora_b.value = jnp.ones((4, 1))
        >>> adapted = net.weight.value
        >>> bool((az.merge(net).weight.value == adapted).all())
        True
    """
    return bake(net, select, LoRA)


class LoRA(Module):
    """A weight plus a product of two thin matrices; see `lora`.

    Attributes:
        lora_a: shape `(rank, in · kernel)`.
        lora_b: shape `(out, rank)`, zero at first.
    """

    def __init__(self, weight: Weight, rank: int, scale: float) -> None:
        super().__init__()
        self.rank = rank
        self.scale = scale
        rows, columns = rows_and_columns(weight.shape)
        self.lora_a = Parameter((rank, columns), FanInUniform(), dtype=weight.dtype)
        self.lora_b = Parameter((rows, rank), "zeros", dtype=weight.dtype)

    def infer_shape(self, weight: Any) -> None:
        """Take the sizes from the weight."""
        rows, columns = rows_and_columns(weight.shape)
        self.lora_a.shape = (self.rank, columns)
        self.lora_b.shape = (rows, self.rank)

    def forward(self, weight: Any) -> Any:
        """`w + scale · b a`."""
        return _plus_product(weight, self.lora_a.value, self.lora_b.value, self.scale)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"rank={self.rank}, scale={self.scale:g}"


@functools.partial(jax.jit, static_argnums=3)
def _plus_product(weight: jax.Array, a: jax.Array, b: jax.Array, scale: float) -> jax.Array:
    added = scale * (b @ a).reshape(weight.shape)
    return (weight + added).astype(weight.dtype)
