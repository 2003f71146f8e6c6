"""What it costs to have a network with all its initial values: time and memory.

Each contender builds its network in a fresh process, after its imports and after its backend has
run one operation; the clock stops when every value is there. Three sets of parameters: fifty small
layers, fifty large ones (each with the library's default initialisation), and those of GPT-2 small
(weights from N(0, 0.02), biases and offsets zero, scales one, the same for everybody). Beside that:
what Ansatz takes to declare seven billion parameters that nobody touches.

    python benchmarks/build.py [--quick] [--json PATH]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import harness

Build = Callable[[], int]
"""Builds a network, waits until every value is there, and returns the number of parameters."""

LAYERS = 50
SIGMA = 0.02
DENSE = {"50 × Dense(16)": 16, "50 × Dense(1024)": 1024}
GPT2 = "GPT-2 small"
SETS = (*DENSE, GPT2)
SMALL, LARGE = SETS[0], SETS[1:]


class Shape(NamedTuple):
    """One parameter of GPT-2."""

    name: str
    shape: tuple[int, ...]

    @property
    def kind(self) -> str:
        """`"weight"` (drawn), `"scale"` (ones) or `"bias"` (zeros)."""
        if self.name.endswith("scale"):
            return "scale"
        return "weight" if len(self.shape) > 1 else "bias"


def gpt2(layers: int = 12, width: int = 768, words: int = 50257, places: int = 1024) -> list[Shape]:
    """The parameters of GPT-2 small: 124,439,808 numbers (the head is the embedding)."""

    def linear(name: str, inputs: int, outputs: int) -> Iterator[Shape]:
        yield Shape(f"{name}_weight", (outputs, inputs))
        yield Shape(f"{name}_bias", (outputs,))

    def norm(name: str) -> Iterator[Shape]:
        yield Shape(f"{name}_scale", (width,))
        yield Shape(f"{name}_bias", (width,))

    shapes = [Shape("words_weight", (words, width)), Shape("places_weight", (places, width))]
    for layer in range(layers):
        shapes.extend(norm(f"h{layer}_norm1"))
        shapes.extend(linear(f"h{layer}_attention", width, 3 * width))
        shapes.extend(linear(f"h{layer}_attended", width, width))
        shapes.extend(norm(f"h{layer}_norm2"))
        shapes.extend(linear(f"h{layer}_up", width, 4 * width))
        shapes.extend(linear(f"h{layer}_down", 4 * width, width))
    shapes.extend(norm("norm"))
    return shapes


# -- the contenders ---------------------------------------------------------------------------
#
# Each imports its library, wakes its backend, and returns what is measured.


def ansatz(which: str) -> Build:
    import jax
    import jax.numpy as jnp

    import ansatz as az
    from ansatz import init, nn

    jnp.zeros(()).block_until_ready()
    choices = {"weight": init.Normal(SIGMA), "scale": "ones", "bias": "zeros"}

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for one in gpt2():
                setattr(self, one.name, az.Parameter(one.shape, init=choices[one.kind]))

    def build() -> int:
        if which == GPT2:
            net: Any = Transformer()
        else:
            net = nn.Sequential(*(nn.Dense(DENSE[which], DENSE[which]) for _ in range(LAYERS)))
        net.initialize(seed=0)
        values = [parameter.value for parameter in net.parameters()]
        return sum(array.size for array in jax.block_until_ready(values))

    return build


def nnx(which: str) -> Build:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    jnp.zeros(()).block_until_ready()
    initializers = nnx.initializers
    choices = {
        "weight": initializers.normal(SIGMA),
        "scale": initializers.ones,
        "bias": initializers.zeros,
    }

    class Dense(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            width = DENSE[which]
            self.layers = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(LAYERS)])

    class Transformer(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            for one in gpt2():
                value = choices[one.kind](rngs.params(), one.shape, jnp.float32)
                setattr(self, one.name, nnx.Param(value))

    def build() -> int:
        net = (Transformer if which == GPT2 else Dense)(nnx.Rngs(0))
        leaves = jax.tree.leaves(nnx.state(net, nnx.Param))
        return sum(array.size for array in jax.block_until_ready(leaves))

    return build


def equinox(which: str) -> Build:
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    jnp.zeros(()).block_until_ready()

    class Dense(eqx.Module):
        layers: list[eqx.nn.Linear]

        def __init__(self, key: jax.Array) -> None:
            width = DENSE[which]
            keys = jax.random.split(key, LAYERS)
            self.layers = [eqx.nn.Linear(width, width, key=one) for one in keys]

    class Transformer(eqx.Module):
        params: dict[str, jax.Array]

        def __init__(self, key: jax.Array) -> None:
            self.params = {}
            shapes = gpt2()
            for one, own in zip(shapes, jax.random.split(key, len(shapes)), strict=True):
                if one.kind == "weight":
                    self.params[one.name] = SIGMA * jax.random.normal(own, one.shape)
                else:
                    self.params[one.name] = jnp.full(one.shape, float(one.kind == "scale"))

    def build() -> int:
        net = (Transformer if which == GPT2 else Dense)(jax.random.key(0))
        leaves = jax.tree.leaves(eqx.filter(net, eqx.is_array))
        return sum(array.size for array in jax.block_until_ready(leaves))

    return build


def keras(which: str) -> Build:
    import jax
    import jax.numpy as jnp
    import keras

    jnp.zeros(()).block_until_ready()
    choices = {
        "weight": keras.initializers.RandomNormal(stddev=SIGMA),
        "scale": "ones",
        "bias": "zeros",
    }

    def dense() -> list[Any]:
        width = DENSE[which]
        layers = [keras.layers.Dense(width) for _ in range(LAYERS)]
        for layer in layers:
            layer.build((None, width))
        return [variable for layer in layers for variable in layer.weights]

    def transformer() -> list[Any]:
        holder = keras.layers.Layer()
        return [
            holder.add_weight(shape=one.shape, initializer=choices[one.kind], name=one.name)
            for one in gpt2()
        ]

    def build() -> int:
        variables = transformer() if which == GPT2 else dense()
        values = [variable.value for variable in variables]
        return sum(array.size for array in jax.block_until_ready(values))

    return build


def torch(which: str) -> Build:
    import torch
    from torch import nn

    torch.zeros(())

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for one in gpt2():
                values = torch.empty(one.shape)
                if one.kind == "weight":
                    nn.init.normal_(values, std=SIGMA)
                else:
                    nn.init.constant_(values, float(one.kind == "scale"))
                setattr(self, one.name, nn.Parameter(values))

    def build() -> int:
        if which == GPT2:
            net: nn.Module = Transformer()
        else:
            width = DENSE[which]
            net = nn.Sequential(*(nn.Linear(width, width) for _ in range(LAYERS)))
        return sum(parameter.numel() for parameter in net.parameters())

    return build


class Contender(NamedTuple):
    """One row: how to build, and what has to be installed."""

    prepare: Callable[[str], Build]
    package: str | None = None


ANSATZ, TORCH = "Ansatz", "PyTorch"
CONTENDERS = {
    ANSATZ: Contender(ansatz),
    "NNX": Contender(nnx, "flax"),
    "Equinox": Contender(equinox, "equinox"),
    "Keras": Contender(keras, "keras"),
    TORCH: Contender(torch, "torch"),
}
JAX_PEERS = ("NNX", "Equinox", "Keras")
PEERS = ("flax", "equinox", "keras", "torch")


# -- measuring --------------------------------------------------------------------------------


def build(name: str, which: str) -> dict[str, Any]:
    """Build one set with one library in this process."""
    return _measured(CONTENDERS[name].prepare(which))


def declare() -> dict[str, Any]:
    """Declare the parameters of a language model of the size of Mistral 7B, and touch none."""
    import jax.numpy as jnp

    from ansatz import nn

    jnp.zeros(()).block_until_ready()
    width, hidden, keys, words, layers = 4096, 14336, 1024, 32000, 32

    def dense(inputs: int, outputs: int) -> nn.Dense:
        return nn.Dense(outputs, inputs, use_bias=False)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.output = dense(width, width), dense(width, width)
            self.key, self.value = dense(width, keys), dense(width, keys)
            self.gate, self.up, self.down = (
                dense(width, hidden),
                dense(width, hidden),
                dense(hidden, width),
            )

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = dense(width, words)
            self.blocks = [Block() for _ in range(layers)]
            self.head = dense(width, words)

    def build() -> int:
        return sum(parameter.size for parameter in Model().parameters())

    return _measured(build)


def _measured(build: Build) -> dict[str, Any]:
    with harness.Memory() as memory:
        start = time.perf_counter()
        parameters = build()
        took = time.perf_counter() - start
    return {"seconds": took, "extra_bytes": memory.extra, "parameters": parameters}


def main() -> None:
    options = harness.parse("build", __doc__ or "", {"build": build, "declare": declare})
    harness.introduce("Building a network", options, PEERS)
    results: list[dict[str, Any]] = []
    goals: list[dict[str, Any]] = []
    for which in SETS[:2] if options.quick else SETS:
        repeats = 2 if options.quick else 5
        found = _build_all(which, repeats, results)
        goals.extend(_judge(which, found))
    goals.extend(_declaring(2 if options.quick else 5, results))
    harness.write(
        options,
        {"benchmark": "build", "not_installed": harness.missing(PEERS), "results": results},
        goals,
    )


def _build_all(which: str, repeats: int, results: list[dict[str, Any]]) -> harness.Times:
    """Build one set with everybody, in turns; print and return the seconds."""
    names = [name for name, one in CONTENDERS.items() if harness.installed(one.package)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            found[name].append(harness.fresh(__file__, "build", name, which))
    counts = {one["parameters"] for several in found.values() for one in several}
    if len(counts) > 1:
        raise RuntimeError(f"{which}: the contenders built {sorted(counts)} parameters")
    times = {name: [one["seconds"] for one in several] for name, several in found.items()}
    values = 4 * counts.pop()
    rows: list[list[str]] = []
    for name in names:
        took = harness.summary(times[name])
        relative = harness.ratio(times, name, ANSATZ)
        extra = statistics.median(one["extra_bytes"] for one in found[name])
        results.append(
            {
                "what": which,
                "contender": name,
                "seconds": times[name],
                "ratio_to_ansatz": relative,
                "extra_bytes": extra,
                "bytes_of_values": values,
                **took,
            }
        )
        rows.append(
            [
                name,
                harness.seconds(took["min"]),
                harness.seconds(took["median"]),
                f"{relative:.1f}",
                harness.megabytes(extra),
            ]
        )
    harness.table(
        f"{which}: {values // 4:,} parameters, {harness.megabytes(values)} of values "
        f"({repeats} fresh processes each)",
        ("", "minimum", "median", "ratio to Ansatz", "peak extra memory"),
        rows,
    )
    return times


def _judge(which: str, times: harness.Times) -> list[dict[str, Any]]:
    peers = [name for name in JAX_PEERS if name in times]
    if which == SMALL and peers:
        fastest = min(peers, key=lambda name: statistics.median(times[name]))
        factor = harness.ratio(times, fastest, ANSATZ)
        text = f"{which}: {factor:.0f} × faster than {fastest}, wanted at least 20"
        return [harness.goal(factor >= 20, text)]
    if which in LARGE and TORCH in times:
        factor = harness.ratio(times, ANSATZ, TORCH)
        text = f"{which}: {factor:.2f} × the time of PyTorch, wanted at most 1"
        return [harness.goal(factor <= 1, text)]
    return []


def _declaring(repeats: int, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [harness.fresh(__file__, "declare") for _ in range(repeats)]
    took = statistics.median(one["seconds"] for one in found)
    extra = statistics.median(one["extra_bytes"] for one in found)
    count = found[0]["parameters"]
    results.append({"what": "declare", "seconds": took, "extra_bytes": extra, "parameters": count})
    text = (
        f"declaring {count:,} parameters: {harness.seconds(took)} and "
        f"{harness.megabytes(extra)}, wanted less than 1 s and 50 MB"
    )
    return [harness.goal(took < 1 and extra < 50e6, text)]


if __name__ == "__main__":
    main()
