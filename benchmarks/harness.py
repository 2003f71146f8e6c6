"""What the benchmarks share: interleaved timing, fresh processes, tables and JSON.

A *contender* is one way of doing the same work. Contenders are never timed one after the other but
in turns, so that whatever else the machine does hits all of them alike; and their ratios are taken
round by round, so that a slow round counts for both sides of a ratio.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Times = dict[str, list[float]]
"""Seconds per call of each contender, one entry per round."""

RESULTS = Path(__file__).parent / "results"
console = Console(width=None if sys.stdout.isatty() else 118)

_PACKAGES = ("jax", "jaxlib", "numpy", "optax", "flax", "equinox", "keras", "torch")
_NAMES = {"flax": "NNX", "equinox": "Equinox", "keras": "Keras", "torch": "PyTorch"}


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        quick: fewer sizes, rounds and repetitions: to see that it runs, not to quote.
        json: where the results are written.
    """

    quick: bool
    json: Path


def parse(name: str, description: str, children: Mapping[str, Callable[..., Any]]) -> Options:
    """Read the command line; in a process that `fresh` started, do that work and leave.

    Args:
        name: of the benchmark, for the default file name.
        description: of the benchmark, for `--help`.
        children: what `fresh` may call, by name.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a short run, too noisy to quote")
    parser.add_argument("--json", type=Path, default=RESULTS / f"{name}.json", metavar="PATH")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        work, *arguments = given.child
        print(json.dumps(children[work](*arguments)))
        sys.exit()
    return Options(given.quick, given.json)


# -- time -----------------------------------------------------------------------------------------


def interleave(
    contenders: Mapping[str, Callable[[], Any]], *, rounds: int, slot: float = 0.02
) -> Times:
    """Time the contenders in turns.

    Args:
        contenders: each returns when its work is done.
        rounds: how often everybody gets a turn. The order changes from round to round, so that
            nobody always comes after the one whose threads go on spinning for a while.
        slot: about how many seconds one turn takes.
    """
    calls = {name: _calls_in(slot, call) for name, call in contenders.items()}
    names = list(contenders)
    times: Times = {name: [] for name in names}
    gc.collect()
    gc.freeze()  # What others hold must not make a contender's garbage collections longer.
    try:
        order = random.Random(0)
        for _ in range(rounds):
            for name in order.sample(names, len(names)):
                call, repeats = contenders[name], range(calls[name])
                call()
                start = time.perf_counter()
                for _ in repeats:
                    call()
                took = time.perf_counter() - start
                times[name].append(took / len(repeats))
                if took > 4 * slot:  # Threads that wait for a busy core may take for ever.
                    calls[name] = max(1, round(calls[name] * slot / took))
    finally:
        gc.unfreeze()
    return times


def _calls_in(seconds: float, call: Callable[[], Any]) -> int:
    call()
    fastest = math.inf
    for _ in range(5):
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return max(1, round(seconds / fastest))


def ratio(times: Times, name: str, yardstick: str) -> float:
    """The median over the rounds of what `name` took, in units of what `yardstick` took."""
    pairs = zip(times[name], times[yardstick], strict=True)
    return statistics.median(own / other for own, other in pairs)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Minimum and median."""
    return {"min": min(values), "median": statistics.median(values)}


# -- fresh processes ------------------------------------------------------------------------------


def fresh(script: str, work: str, *arguments: object) -> Any:
    """Call `children[work](*arguments)` of a benchmark in a process of its own.

    Args:
        script: `__file__` of the benchmark.
        work: the name under which `parse` was given the function.
        *arguments: reach the function as strings.

    Returns:
        What the function returned, through JSON.
    """
    words = [sys.executable, script, "--child", work, *map(str, arguments)]
    environment = {
        **os.environ,
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "KERAS_BACKEND": "jax",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{work} {' '.join(map(str, arguments))} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


class Memory:
    """How much more memory the process holds at its peak than at the start of the block.

    Attributes:
        extra: bytes, once the block is left.
    """

    extra: int

    def __enter__(self) -> Memory:
        self._can_reset = _reset_peak()
        self._before = _memory("VmRSS") if self._can_reset else _peak_so_far()
        return self

    def __exit__(self, *_: object) -> None:
        peak = _memory("VmHWM") if self._can_reset else _peak_so_far()
        self.extra = max(0, peak - self._before)


def _reset_peak() -> bool:
    """Forget the peak that the imports may have had; only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this system does not tell {field}")


def _peak_so_far() -> int:
    import resource  # Not on Windows, where nothing but this function would miss it.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# -- what was measured, and where -----------------------------------------------------------------


def installed(package: str | None) -> bool:
    """Whether a peer can be imported; `None` is nobody's package, and always there."""
    return package is None or importlib.util.find_spec(package) is not None


def missing(packages: Sequence[str]) -> list[str]:
    """The peers that are left out because they are not installed, by the names of the tables."""
    return [_NAMES.get(package, package) for package in packages if not installed(package)]


def machine() -> dict[str, Any]:
    """The versions and the hardware, without saying whose machine it is."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(affinity(0)) if affinity is not None else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        **{name: importlib.metadata.version(name) for name in _PACKAGES if installed(name)},
    }


def introduce(title: str, options: Options, packages: Sequence[str]) -> None:
    """Say what will be measured, on what, and who is not there."""
    console.rule(title)
    console.print(", ".join(f"{key} {value}" for key, value in machine().items()), style="dim")
    for name in missing(packages):
        console.print(f"{name}: not installed, left out", style="yellow")
    if options.quick:
        console.print("--quick: too few rounds to quote a number from", style="yellow")


def announce(number: int, count: int, what: str) -> None:
    """Say what is measured now, before it is: a bar that moves would take part in the race."""
    console.print(f"{number} of {count}: {what}", style="dim")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str] | None]) -> None:
    """Print a table; the first column is words, the others are numbers, `None` draws a line."""
    console.print(f"\n{title}", style="bold")
    drawn = Table()
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        if row is None:
            drawn.add_section()
        else:
            drawn.add_row(*row)
    console.print(drawn)


def goal(reached: bool, text: str) -> dict[str, Any]:
    """Print whether a goal was reached, and return it for the results."""
    console.print(
        f"{'reached' if reached else 'MISSED '}  {text}", style=None if reached else "red"
    )
    return {"goal": text, "reached": reached}


def write(options: Options, results: Mapping[str, Any], goals: Sequence[Mapping[str, Any]]) -> None:
    """Write the results as JSON."""
    content = {"quick": options.quick, "machine": machine(), **results, "goals": list(goals)}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"written to {_short(options.json)}\n", style="dim")


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def seconds(value: float) -> str:
    """A duration in the unit that suits it."""
    if value < 1e-3:
        return f"{value * 1e6:.1f} µs"
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"


def megabytes(value: float) -> str:
    """A number of bytes in megabytes."""
    return f"{value / 1e6:,.0f} MB"
