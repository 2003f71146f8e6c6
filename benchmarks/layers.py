"""What the layers cost: forward, and a training step with the gradients of everything.

Each row is one layer on one input. Every library computes it compiled, in the way its users would:
`jax` is the same thing written by hand with plain `jax.lax` and `jax.numpy`. The training step
gives the gradients of a weighted sum of the outputs, by all parameters and by the input.

    python benchmarks/layers.py [--quick] [--json PATH]

A family gets its row by an entry in `CASES` and one in each of the tables of the contenders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np

Call = Callable[[], Any]
"""Runs once and returns when the result is there."""


class Case(NamedTuple):
    """One row.

    Attributes:
        shape: the shape of the input, channels last.
        integers: below which number the integers of the input are, if it holds integers.
    """

    shape: tuple[int, ...]
    integers: int | None = None


CASES = {
    "Conv2D(64, 3), 64 channels": Case((16, 32, 32, 64)),
    "Conv2D(6, 5), 1 channel": Case((256, 28, 28, 1)),
    "Conv2D(128, 1), 64 channels": Case((16, 32, 32, 64)),
    "depthwise 3x3, 64 channels": Case((16, 32, 32, 64)),
    "MaxPool2D(2)": Case((32, 32, 32, 32)),
    "MaxPool2D(3, 2, padding=1)": Case((16, 32, 32, 64)),
    "AvgPool2D(2)": Case((32, 32, 32, 32)),
    "GlobalAvgPool2D": Case((32, 16, 16, 128)),
    "Dense(512)": Case((32, 64, 256)),
    "BatchNorm": Case((32, 16, 16, 64)),
    "LayerNorm": Case((32, 128, 256)),
    "Embedding": Case((32, 128), 4096),
}
CONV, CONV_ONE, CONV_POINT, CONV_DEPTH, MAX_POOL, MAX_POOL_3, *_REST = CASES
AVG_POOL, GLOBAL, DENSE, BATCH_NORM, LAYER_NORM, EMBEDDING = _REST


def input_of(case: str) -> np.ndarray[Any, Any]:
    shape, integers = CASES[case]
    rng = np.random.default_rng(0)
    if integers is not None:
        return rng.integers(0, integers, shape).astype(np.int32)
    return rng.normal(size=shape).astype(np.float32)


# -- everything on JAX: a pure function of parameters and an input -----------------------------

Parameters = Any
Pure = Callable[[Parameters, jax.Array], jax.Array]


def jax_calls(pure: Pure, parameters: Parameters, case: str) -> tuple[Call, Call]:
    """The forward call and the training step."""
    x = jnp.asarray(input_of(case))
    weights = jax.random.normal(jax.random.key(1), jax.eval_shape(pure, parameters, x).shape)
    wanted = 0 if CASES[case].integers is not None else (0, 1)

    def loss(parameters: Parameters, x: jax.Array, weights: jax.Array) -> jax.Array:
        return (pure(parameters, x) * weights).sum()

    forward, step = jax.jit(pure), jax.jit(jax.grad(loss, wanted))
    return (
        lambda: jax.block_until_ready(forward(parameters, x)),
        lambda: jax.block_until_ready(step(parameters, x, weights)),
    )


def drawn(*shapes: tuple[int, ...]) -> list[jax.Array]:
    rng = np.random.default_rng(2)
    return [jnp.asarray(0.1 * rng.normal(size=shape), "float32") for shape in shapes]


# -- the contenders ------------------------------------------------------------------------------


def by_hand(case: str) -> tuple[Call, Call]:
    def conv(padding: str, groups: int = 1) -> Pure:
        def pure(parameters: Parameters, x: jax.Array) -> jax.Array:
            weight, bias = parameters
            numbers = ("NHWC", "HWIO", "NHWC")
            return bias + jax.lax.conv_general_dilated(
                x, weight, (1, 1), padding, dimension_numbers=numbers, feature_group_count=groups
            )

        return pure

    def pool(start: float, combine: Any, size: int, stride: int, pad: int, scale: float) -> Pure:
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        pads = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        return lambda _, x: scale * jax.lax.reduce_window(x, start, combine, window, strides, pads)

    def normalize(axes: tuple[int, ...]) -> Pure:
        def pure(parameters: Parameters, x: jax.Array) -> jax.Array:
            mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
            return (x - mean) * jax.lax.rsqrt(var + 1e-5) * parameters[0] + parameters[1]

        return pure

    largest = (-np.inf, jax.lax.max)
    tables: dict[str, tuple[Pure, list[jax.Array]]] = {
        CONV: (conv("SAME"), drawn((3, 3, 64, 64), (64,))),
        CONV_ONE: (conv("SAME"), drawn((5, 5, 1, 6), (6,))),
        CONV_POINT: (conv("SAME"), drawn((1, 1, 64, 128), (128,))),
        CONV_DEPTH: (conv("SAME", 64), drawn((3, 3, 1, 64), (64,))),
        MAX_POOL: (pool(*largest, 2, 2, 0, 1.0), []),
        MAX_POOL_3: (pool(*largest, 3, 2, 1, 1.0), []),
        AVG_POOL: (pool(0.0, jax.lax.add, 2, 2, 0, 0.25), []),
        GLOBAL: (lambda _, x: x.mean((1, 2), keepdims=True), []),
        DENSE: (lambda p, x: x @ p[0] + p[1], drawn((256, 512), (512,))),
        BATCH_NORM: (normalize((0, 1, 2)), drawn((64,), (64,))),
        LAYER_NORM: (normalize((-1,)), drawn((256,), (256,))),
        EMBEDDING: (lambda p, x: p[0][x], drawn((4096, 256))),
    }
    return jax_calls(*tables[case], case)


def ansatz(case: str) -> tuple[Call, Call]:
    import ansatz as az
    from ansatz import nn

    layers: dict[str, Callable[[], nn.Module]] = {
        CONV: lambda: nn.Conv2D(64, 3, padding="same"),
        CONV_ONE: lambda: nn.Conv2D(6, 5, padding="same"),
        CONV_POINT: lambda: nn.Conv2D(128, 1),
        CONV_DEPTH: lambda: nn.DepthwiseConv2D(3, padding="same"),
        MAX_POOL: lambda: nn.MaxPool2D(2),
        MAX_POOL_3: lambda: nn.MaxPool2D(3, 2, padding=1),
        AVG_POOL: lambda: nn.AvgPool2D(2),
        GLOBAL: nn.GlobalAvgPool2D,
        DENSE: lambda: nn.Dense(512),
        BATCH_NORM: nn.BatchNorm,
        LAYER_NORM: nn.LayerNorm,
        EMBEDDING: lambda: nn.Embedding(4096, 256),
    }
    layer, x = layers[case](), jnp.asarray(input_of(case))
    y = layer(x)
    weights = jax.random.normal(jax.random.key(1), y.shape)
    wanted = 0 if CASES[case].integers is not None else (0, 1)

    def loss(layer: nn.Module, x: jax.Array, weights: jax.Array) -> jax.Array:
        return (layer(x) * weights).sum()

    forward, step = az.jit(lambda layer, x: layer(x)), az.jit(az.grad(loss, wanted))
    return (
        lambda: jax.block_until_ready(forward(layer, x)),
        lambda: jax.block_until_ready(step(layer, x, weights)),
    )


def nnx(case: str) -> tuple[Call, Call]:
    from flax import nnx

    rngs = nnx.Rngs(0)
    layers: dict[str, Callable[[], Any]] = {
        CONV: lambda: nnx.Conv(64, 64, (3, 3), rngs=rngs),
        CONV_ONE: lambda: nnx.Conv(1, 6, (5, 5), rngs=rngs),
        CONV_POINT: lambda: nnx.Conv(64, 128, (1, 1), rngs=rngs),
        CONV_DEPTH: lambda: nnx.Conv(64, 64, (3, 3), feature_group_count=64, rngs=rngs),
        MAX_POOL: lambda: lambda x: nnx.max_pool(x, (2, 2), (2, 2)),
        MAX_POOL_3: lambda: lambda x: nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))),
        AVG_POOL: lambda: lambda x: nnx.avg_pool(x, (2, 2), (2, 2)),
        GLOBAL: lambda: lambda x: nnx.avg_pool(x, x.shape[1:3]),
        DENSE: lambda: nnx.Linear(256, 512, rngs=rngs),
        BATCH_NORM: lambda: nnx.BatchNorm(64, rngs=rngs),
        LAYER_NORM: lambda: nnx.LayerNorm(256, rngs=rngs),
        EMBEDDING: lambda: nnx.Embed(4096, 256, rngs=rngs),
    }
    layer = layers[case]()
    if not isinstance(layer, nnx.Module):
        return jax_calls(lambda _, x: layer(x), [], case)
    graph, parameters, rest = nnx.split(layer, nnx.Param, ...)
    return jax_calls(lambda p, x: nnx.merge(graph, p, rest, copy=True)(x), parameters, case)


def equinox(case: str) -> tuple[Call, Call]:
    """Its layers take one example with channels first, so they are mapped over the batch."""
    import equinox as eqx

    key = jax.random.key(0)
    layers: dict[str, Callable[[], Any]] = {
        CONV: lambda: eqx.nn.Conv2d(64, 64, 3, padding=1, key=key),
        CONV_ONE: lambda: eqx.nn.Conv2d(1, 6, 5, padding=2, key=key),
        CONV_POINT: lambda: eqx.nn.Conv2d(64, 128, 1, key=key),
        CONV_DEPTH: lambda: eqx.nn.Conv2d(64, 64, 3, padding=1, groups=64, key=key),
        MAX_POOL: lambda: eqx.nn.MaxPool2d(2, 2),
        MAX_POOL_3: lambda: eqx.nn.MaxPool2d(3, 2, padding=1),
        AVG_POOL: lambda: eqx.nn.AvgPool2d(2, 2),
        GLOBAL: lambda: eqx.nn.AdaptiveAvgPool2d(1),
        DENSE: lambda: eqx.nn.Linear(256, 512, key=key),
        LAYER_NORM: lambda: eqx.nn.LayerNorm(256),
        EMBEDDING: lambda: eqx.nn.Embedding(4096, 256, key=key),
    }
    x = jnp.asarray(input_of(case))
    if x.ndim == 4:
        x = x.transpose(0, 3, 1, 2)
    if case == BATCH_NORM:
        norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(64, "batch", mode="batch")

        def run(norm: Any, x: jax.Array) -> jax.Array:
            axes = {"axis_name": "batch", "in_axes": (0, None), "out_axes": (0, None)}
            return jax.vmap(norm, **axes)(x, state)[0]

        layer: Any = norm
    else:
        layer = layers[case]()
        mapped = 2 if case in (DENSE, LAYER_NORM, EMBEDDING) else 1

        def run(layer: Any, x: jax.Array) -> jax.Array:
            return (jax.vmap(jax.vmap(layer)) if mapped == 2 else jax.vmap(layer))(x)

    weights = jax.random.normal(jax.random.key(1), eqx.filter_eval_shape(run, layer, x).shape)

    def loss(both: Any, weights: jax.Array) -> jax.Array:
        return (run(*both) * weights).sum()

    forward, step = eqx.filter_jit(run), eqx.filter_jit(eqx.filter_grad(loss))
    return (
        lambda: jax.block_until_ready(forward(layer, x)),
        lambda: jax.block_until_ready(jax.tree.leaves(step((layer, x), weights))),
    )


def torch(case: str) -> tuple[Call, Call]:
    """With channels first, as its users have them."""
    import torch
    from torch import nn

    layers: dict[str, Callable[[], Any]] = {
        CONV: lambda: nn.Conv2d(64, 64, 3, padding=1),
        CONV_ONE: lambda: nn.Conv2d(1, 6, 5, padding=2),
        CONV_POINT: lambda: nn.Conv2d(64, 128, 1),
        CONV_DEPTH: lambda: nn.Conv2d(64, 64, 3, padding=1, groups=64),
        MAX_POOL: lambda: nn.MaxPool2d(2),
        MAX_POOL_3: lambda: nn.MaxPool2d(3, 2, 1),
        AVG_POOL: lambda: nn.AvgPool2d(2),
        GLOBAL: lambda: nn.AdaptiveAvgPool2d(1),
        DENSE: lambda: nn.Linear(256, 512),
        BATCH_NORM: lambda: nn.BatchNorm2d(64),
        LAYER_NORM: lambda: nn.LayerNorm(256),
        EMBEDDING: lambda: nn.Embedding(4096, 256),
    }
    layer, x = layers[case](), torch.from_numpy(input_of(case))
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()
    weights = torch.randn_like(layer(x))

    def forward() -> Any:
        with torch.no_grad():
            return layer(x)

    def step() -> Any:
        layer.zero_grad()
        given = x.clone().requires_grad_() if x.is_floating_point() else x
        (layer(given) * weights).sum().backward()

    return forward, step


class Contender(NamedTuple):
    """One column: how to build a layer's two calls, and what has to be installed."""

    build: Callable[[str], tuple[Call, Call]]
    package: str | None = None


ANSATZ, BY_HAND = "Ansatz", "jax"
CONTENDERS: Mapping[str, Contender] = {
    ANSATZ: Contender(ansatz),
    BY_HAND: Contender(by_hand),
    "NNX": Contender(nnx, "flax"),
    "Equinox": Contender(equinox, "equinox"),
    "PyTorch": Contender(torch, "torch"),
}
ALLOWED = 1.05  # How much longer than plain JAX still counts as no longer, for the noise.


def measure(options: harness.Options, present: list[str]) -> dict[str, Any]:
    rounds = 5 if options.quick else 15
    results: dict[str, Any] = {}
    for case in CASES:
        calls = {name: CONTENDERS[name].build(case) for name in present}
        results[case] = {}
        for index, kind in enumerate(("forward", "step")):
            times = harness.interleave(
                {name: pair[index] for name, pair in calls.items()}, rounds=rounds
            )
            results[case][kind] = {
                name: {
                    **harness.summary(times[name]),
                    "ratio": harness.ratio(times, name, BY_HAND),
                }
                for name in present
            }
    return results


def report(results: Mapping[str, Any], present: list[str]) -> list[dict[str, Any]]:
    goals = []
    for kind, title in (("forward", "forward"), ("step", "training step")):
        rows = []
        for case, measured in results.items():
            cells = [measured[kind][name] for name in present]
            rows.append(
                [case, *(f"{harness.seconds(c['median'])} ({c['ratio']:.2f})" for c in cells)]
            )
        harness.table(f"{title}: median time (ratio to plain JAX)", ["layer", *present], rows)
    for kind in ("forward", "step"):
        slow = [
            f"{case} ({measured[kind][ANSATZ]['ratio']:.2f})"
            for case, measured in results.items()
            if measured[kind][ANSATZ]["ratio"] > ALLOWED
        ]
        text = f"{kind}: no layer is slower than plain JAX"
        goals.append(harness.goal(not slow, text + (f": {', '.join(slow)}" if slow else "")))
    return goals


def main() -> None:
    options = harness.parse("layers", __doc__.splitlines()[0], {})
    packages = [c.package for c in CONTENDERS.values() if c.package is not None]
    harness.introduce("What the layers cost", options, packages)
    present = [name for name, c in CONTENDERS.items() if harness.installed(c.package)]
    results = measure(options, present)
    harness.write(options, {"layers": results}, report(results, present))


if __name__ == "__main__":
    main()
