"""What one eager call of a layer costs: microseconds from Python to the finished result.

Every library calls its own layers, without any compilation by the user, on the same inputs. The
time includes the arithmetic, which is a small part of it. For the libraries on JAX the table also
says how many programs XLA ran for one call: a layer that computes operation by operation runs many.

    python benchmarks/eager.py [--quick] [--json PATH]
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np

WIDTH, BATCH, WORDS, DEPTH = 256, 32, 1000, 4

Call = Callable[[], Any]
"""Calls the layer once and returns when the result is there."""

BATCH_OF_ROWS = np.random.default_rng(0).normal(size=(BATCH, WIDTH)).astype(np.float32)
BATCH_OF_WORDS = np.random.default_rng(1).integers(0, WORDS, (BATCH,)).astype(np.int32)
CASES = {
    f"Dense({WIDTH})": BATCH_OF_ROWS,
    f"MLP, {DEPTH} layers": BATCH_OF_ROWS,
    "BatchNorm, training": BATCH_OF_ROWS,
    "LayerNorm": BATCH_OF_ROWS,
    "Embedding": BATCH_OF_WORDS,
}
DENSE, MLP, BATCH_NORM, LAYER_NORM, EMBEDDING = CASES


def _jax_call(layer: Callable[[jax.Array], jax.Array], case: str) -> Call:
    x = jnp.array(CASES[case])
    return lambda: layer(x).block_until_ready()


# -- the contenders ---------------------------------------------------------------------------


def ansatz(case: str) -> Call:
    from ansatz import nn

    def hidden() -> Any:
        return nn.Dense(WIDTH, WIDTH, activation="relu")

    layers: dict[str, Callable[[], Any]] = {
        DENSE: lambda: nn.Dense(WIDTH, WIDTH),
        MLP: lambda: nn.Sequential(*(hidden() for _ in range(DEPTH - 1)), nn.Dense(WIDTH, WIDTH)),
        BATCH_NORM: lambda: nn.BatchNorm(WIDTH),
        LAYER_NORM: lambda: nn.LayerNorm(WIDTH),
        EMBEDDING: lambda: nn.Embedding(WORDS, WIDTH),
    }
    return _jax_call(layers[case](), case)


def nnx(case: str) -> Call:
    from flax import nnx

    rngs = nnx.Rngs(0)

    class Net(nnx.Module):
        def __init__(self) -> None:
            self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(DEPTH)])

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.layers[:-1]:
                x = nnx.relu(layer(x))
            return self.layers[-1](x)

    layers: dict[str, Callable[[], Any]] = {
        DENSE: lambda: nnx.Linear(WIDTH, WIDTH, rngs=rngs),
        MLP: Net,
        BATCH_NORM: lambda: nnx.BatchNorm(WIDTH, rngs=rngs),
        LAYER_NORM: lambda: nnx.LayerNorm(WIDTH, rngs=rngs),
        EMBEDDING: lambda: nnx.Embed(WORDS, WIDTH, rngs=rngs),
    }
    return _jax_call(layers[case](), case)


def equinox(case: str) -> Call:
    """Equinox's layers take one example each; `jax.vmap` makes them take a batch."""
    import equinox as eqx

    key = jax.random.key(0)
    if case == BATCH_NORM:
        norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(WIDTH, "batch", mode="batch")
        mapped = jax.vmap(norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None))

        def normalize(x: jax.Array) -> jax.Array:
            nonlocal state
            y, state = mapped(x, state)
            return y

        return _jax_call(normalize, case)
    layers: dict[str, Callable[[], Any]] = {
        DENSE: lambda: eqx.nn.Linear(WIDTH, WIDTH, key=key),
        MLP: lambda: eqx.nn.MLP(WIDTH, WIDTH, WIDTH, DEPTH - 1, key=key),
        LAYER_NORM: lambda: eqx.nn.LayerNorm(WIDTH),
        EMBEDDING: lambda: eqx.nn.Embedding(WORDS, WIDTH, key=key),
    }
    return _jax_call(jax.vmap(layers[case]()), case)


def torch(case: str) -> Call:
    """Without a record for gradients, which the others do not make either."""
    import torch
    from torch import nn

    def hidden() -> list[Any]:
        return [nn.Linear(WIDTH, WIDTH), nn.ReLU()]

    layers: dict[str, Callable[[], Any]] = {
        DENSE: lambda: nn.Linear(WIDTH, WIDTH),
        MLP: lambda: nn.Sequential(
            *(layer for _ in range(DEPTH - 1) for layer in hidden()), nn.Linear(WIDTH, WIDTH)
        ),
        BATCH_NORM: lambda: nn.BatchNorm1d(WIDTH),
        LAYER_NORM: lambda: nn.LayerNorm(WIDTH),
        EMBEDDING: lambda: nn.Embedding(WORDS, WIDTH),
    }
    layer, x = layers[case](), torch.from_numpy(CASES[case])

    def call() -> Any:
        with torch.no_grad():
            return layer(x)

    return call


class Contender(NamedTuple):
    """One column: how to build a layer's call, and what has to be installed."""

    build: Callable[[str], Call]
    package: str | None = None


ANSATZ = "Ansatz"
CONTENDERS = {
    ANSATZ: Contender(ansatz),
    "NNX": Contender(nnx, "flax"),
    "Equinox": Contender(equinox, "equinox"),
    "PyTorch": Contender(torch, "torch"),
}
PEERS = ("flax", "equinox", "torch")


# -- measuring --------------------------------------------------------------------------------


def programs_run(call: Call) -> int | None:
    """How many programs XLA runs in one call, counted in a profile; `None` if it cannot tell."""
    for _ in range(3):
        call()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            call()
        found = list(Path(folder).rglob("perfetto_trace.json.gz"))
        if not found:
            return None
        events = json.loads(gzip.decompress(found[0].read_bytes()))["traceEvents"]
    # The name of the function that runs a program on one device, in jaxlib 0.10 to 0.12.
    runs = [e for e in events if "ExecuteHelperOnSingleDevice" in e.get("name", "")]
    return len(runs) or None


def main() -> None:
    options = harness.parse("eager", __doc__ or "", {})
    harness.introduce("One eager call of a layer", options, PEERS)
    rounds = 10 if options.quick else 100
    names = [name for name, one in CONTENDERS.items() if harness.installed(one.package)]
    results: list[dict[str, Any]] = []
    rows: list[list[str] | None] = []
    for case in CASES:
        calls = {name: CONTENDERS[name].build(case) for name in names}
        times = harness.interleave(calls, rounds=rounds, slot=0.01)
        programs = {name: programs_run(calls[name]) for name in names if name != "PyTorch"}
        for name in names:
            took = harness.summary(times[name])
            relative = harness.ratio(times, name, ANSATZ)
            count = programs.get(name)
            results.append(
                {
                    "what": case,
                    "contender": name,
                    "ratio_to_ansatz": relative,
                    "programs": count,
                    "seconds": times[name],
                    **took,
                }
            )
            rows.append(
                [
                    case if name == ANSATZ else "",
                    name,
                    harness.seconds(took["min"]),
                    harness.seconds(took["median"]),
                    f"{relative:.2f}",
                    "" if count is None else str(count),
                ]
            )
        rows.append(None)
    harness.table(
        f"A batch of {BATCH}, width {WIDTH} ({rounds} rounds)",
        ("", "", "minimum", "median", "ratio to Ansatz", "programs"),
        rows[:-1],
    )
    harness.write(
        options,
        {"benchmark": "eager", "not_installed": harness.missing(PEERS), "results": results},
        [],
    )


if __name__ == "__main__":
    main()
