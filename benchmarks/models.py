"""Whole training steps of whole models, each in every library that has it.

Everybody starts from the same values and trains on the same batch with the same optimizer, and must
arrive at the same loss; then they are timed in turns. A model is a file in `networks/`, with a
function for each library; `MODELS` and `CONTENDERS` are all that has to know of another one.

    python benchmarks/models.py [--quick] [--json PATH]
"""

from __future__ import annotations

import statistics
from types import ModuleType
from typing import Any, NamedTuple

import harness
from networks import convnet, gpt, lenet, lstm, mlp

MODELS: tuple[ModuleType, ...] = (mlp, lenet, convnet, gpt, lstm)
"""Each has a `NAME`, `make()`, and functions of CONTENDERS; what a library lacks, it leaves out.

Where a goal is another than that of CONTENDERS, it stands in `GOALS`.
"""


class Contender(NamedTuple):
    """A library.

    Attributes:
        function: its name in the files of the models.
        package: what has to be installed.
        goal: how many times longer than Ansatz's its step has to take, at least; `None` for none.
    """

    function: str
    package: str | None
    goal: float | None = None


OURS = "Ansatz"
CONTENDERS = {
    "plain jax": Contender("lax", None, 0.95),
    OURS: Contender("ansatz", None),
    "Flax NNX": Contender("nnx", "flax", 1.0),
    "Equinox": Contender("equinox", "equinox", 1.0),
    "PyTorch": Contender("torch", "torch", 1.0),
}
CHECKED_STEPS, TOLERANCE = 3, 1e-3


def measure(model: ModuleType, *, rounds: int) -> harness.Times:
    """Time all contenders of one model, after seeing that they compute the same."""
    steps = {
        name: getattr(model, contender.function)(*model.make())
        for name, contender in CONTENDERS.items()
        if hasattr(model, contender.function) and harness.installed(contender.package)
    }
    losses = {name: [float(step()) for _ in range(CHECKED_STEPS)] for name, step in steps.items()}
    for name, found in losses.items():
        for own, expected in zip(found, losses[OURS], strict=True):
            if abs(own - expected) > TOLERANCE * abs(expected):
                raise RuntimeError(f"{model.NAME}: {name} has losses {found}, not {losses[OURS]}")
    return harness.interleave(steps, rounds=rounds)


def row(name: str, times: harness.Times) -> list[str]:
    """One contender's line of the table."""
    summary = harness.summary(times[name])
    ratio = harness.ratio(times, name, OURS)
    return [
        name,
        harness.seconds(summary["min"]),
        harness.seconds(summary["median"]),
        f"{ratio:.2f}",
    ]


def main() -> None:
    options = harness.parse("models", "Whole training steps, against the peers.", {})
    packages = [contender.package for contender in CONTENDERS.values() if contender.package]
    harness.introduce("whole training steps", options, packages)
    results: dict[str, Any] = {}
    goals = []
    for number, model in enumerate(MODELS, 1):
        harness.announce(number, len(MODELS), model.NAME)
        times = measure(model, rounds=5 if options.quick else 40)
        harness.table(
            model.NAME,
            ["", "minimum", "median", "times Ansatz"],
            [row(name, times) for name in sorted(times, key=lambda n: statistics.median(times[n]))],
        )
        results[model.NAME] = {name: harness.summary(values) for name, values in times.items()}
        for name, contender in CONTENDERS.items():
            goal = getattr(model, "GOALS", {}).get(name, contender.goal)
            if goal is not None and name in times:
                reached = harness.ratio(times, name, OURS)
                text = f"{model.NAME}: {name} takes {reached:.2f} times as long as Ansatz"
                goals.append(harness.goal(reached >= goal, f"{text} (goal: at least {goal:.2f})"))
    harness.write(options, {"models": results}, goals)


if __name__ == "__main__":
    main()
