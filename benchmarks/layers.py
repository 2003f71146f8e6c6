"""What the layers cost: forward, and a training step with the gradients of everything.

Each row is one layer on one input. Every library computes it compiled, in the way its users would:
`jax` is the same thing written by hand with plain `jax.lax` and `jax.numpy`. The training step
gives the gradients of a weighted sum of the outputs, by all parameters and by the input.

    python benchmarks/layers.py [--quick] [--json PATH]

A layer gets its row by an entry in `CASES` and one in the table of each library that has it, all of
them in `layer_tables/`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import harness
from layer_tables.cases import CASES, Call


class Contender(NamedTuple):
    """One column: the module of its table, and what has to be installed."""

    module: str
    package: str | None = None


OURS, BY_HAND = "Ansatz", "jax"
CONTENDERS: Mapping[str, Contender] = {
    OURS: Contender("ours"),
    BY_HAND: Contender("plain"),
    "NNX": Contender("flax_nnx", "flax"),
    "Equinox": Contender("eqx", "equinox"),
    "PyTorch": Contender("pytorch", "torch"),
}
ALLOWED = 1.05  # How much longer than plain JAX still counts as no longer, for the noise.


def built(case: str, present: list[str]) -> dict[str, tuple[Call, Call]]:
    """The two calls of every library that has the layer; all outputs must be of one size."""
    modules = {
        name: importlib.import_module(f"layer_tables.{CONTENDERS[name].module}") for name in present
    }
    for name, module in modules.items():
        if unknown := module.TABLE.keys() - CASES.keys():
            raise KeyError(f"the table of {name} has rows that CASES lacks: {sorted(unknown)}")
    calls = {name: module.build(case) for name, module in modules.items() if case in module.TABLE}
    sizes = {name: math.prod(forward().shape) for name, (forward, _) in calls.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"{case}: the outputs differ in size: {sizes}")
    return calls


def measure(options: harness.Options, present: list[str]) -> dict[str, Any]:
    rounds = 5 if options.quick else 15
    results: dict[str, Any] = {}
    for number, case in enumerate(CASES, 1):
        harness.announce(number, len(CASES), case)
        calls = built(case, present)
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
                for name in calls
            }
    return results


def cell(measured: Mapping[str, Mapping[str, float]], name: str) -> str:
    if name not in measured:
        return "–"
    return f"{harness.seconds(measured[name]['median'])} ({measured[name]['ratio']:.2f})"


def report(results: Mapping[str, Any], present: list[str]) -> list[dict[str, Any]]:
    for kind, title in (("forward", "forward"), ("step", "training step")):
        rows = [
            [case, *(cell(measured[kind], name) for name in present)]
            for case, measured in results.items()
        ]
        harness.table(f"{title}: median time (ratio to plain JAX)", ["layer", *present], rows)
    goals = []
    for kind in ("forward", "step"):
        slow = [
            f"{case} ({measured[kind][OURS]['ratio']:.2f})"
            for case, measured in results.items()
            if measured[kind][OURS]["ratio"] > ALLOWED
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
