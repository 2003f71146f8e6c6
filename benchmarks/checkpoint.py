"""What it takes to save and to load 500 MB in 200 arrays: time, and memory of the load.

Everybody saves the same float32 arrays to one file (or folder), and loads them again, each in the
way its own documentation says: Ansatz a network by `net.save` and `net.load`, the others a dict of
arrays. The limit is a plain copy of the bytes, one `write` or one `read` for each array.

A save comes in two kinds. What is only *written* may still be lost when the power fails; what is
*on disk* was awaited with `fsync`. Ansatz and Orbax always wait; all others take part twice, as
they are and with an `fsync` after them. In a folder that is kept in memory there is nothing to
wait for, which leaves the work of the libraries themselves.

Each load happens in a fresh process, after its imports and after its backend has started: who loads
twice in one process gets memory that the system need not clear again, or not, as chance has it.

    python benchmarks/checkpoint.py [--quick] [--json PATH]
    CHECKPOINT_FOLDER=/dev/shm python benchmarks/checkpoint.py --json PATH
"""

from __future__ import annotations

import functools
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import harness
import numpy as np

ARRAYS, QUICK_ARRAYS, SHAPE = 200, 20, (625, 1000)
FOLDER = os.environ.get("CHECKPOINT_FOLDER")  # Not the system's folder for temporary files.


class Contender(NamedTuple):
    """One way of saving and loading.

    Attributes:
        save: writes everything to a path.
        load: reads everything from it and returns it.
        durable: whether `save` waits for the disk by itself.
        reads: the contender whose file it reads, if it saves none.
    """

    save: Callable[[Path], Any] | None
    load: Callable[[Path], Any]
    durable: bool = False
    reads: str = ""


def arrays_of(count: int) -> dict[str, np.ndarray]:
    """The arrays, the same in every process."""
    draw = np.random.default_rng(0)
    return {f"w{i:03}": draw.random(SHAPE, "float32") for i in range(count)}


def names_of(count: int) -> list[str]:
    return [f"w{i:03}" for i in range(count)]


# -- the contenders ---------------------------------------------------------------------------
#
# Each imports its library and returns what is measured; `values` is None where only the load is.

Values = dict[str, np.ndarray] | None


def copy(count: int, values: Values) -> Contender:
    def save(path: Path) -> None:
        with open(path, "wb", buffering=0) as file:
            for value in (values or {}).values():
                file.write(value.data)

    def load(path: Path) -> Any:
        held = [np.empty(SHAPE, "float32") for _ in range(count)]
        with open(path, "rb", buffering=0) as file:
            for value in held:
                file.readinto(value.data)
        return held

    return Contender(save, load)


def ansatz(count: int, values: Values) -> Contender:
    import jax

    import ansatz as az
    from ansatz import nn

    jax.block_until_ready(jax.numpy.zeros(8) + 1)

    def network() -> Any:
        net = nn.Module()
        for name in names_of(count):
            setattr(net, name, az.Parameter(shape=SHAPE))
        return net

    def load(path: Path) -> Any:
        net = network()
        net.load(path)
        return jax.block_until_ready(net.state_dict())

    full = network()
    if values is not None:
        full.load_state_dict({name: jax.numpy.asarray(value) for name, value in values.items()})
    return Contender(save=full.save, load=load, durable=True)


def ansatz_pt(count: int, values: Values) -> Contender:
    return Contender(None, ansatz(count, None).load, reads="PyTorch")


def safetensors(count: int, values: Values) -> Contender:
    from safetensors.numpy import load_file, save_file

    return Contender(lambda path: save_file(values, path), load_file)


def safetensors_jax(count: int, values: Values) -> Contender:
    import jax
    from safetensors.flax import load_file

    jax.block_until_ready(jax.numpy.zeros(8) + 1)

    def load(path: Path) -> Any:
        return jax.block_until_ready(load_file(path))

    return Contender(None, load, reads="safetensors")


def torch(count: int, values: Values) -> Contender:
    import torch

    held = {name: torch.from_numpy(value) for name, value in (values or {}).items()}
    return Contender(
        save=lambda path: torch.save(held, path),
        load=lambda path: torch.load(path, weights_only=True),
    )


def equinox(count: int, values: Values) -> Contender:
    import equinox
    import jax

    jax.block_until_ready(jax.numpy.zeros(8) + 1)
    like = {name: jax.ShapeDtypeStruct(SHAPE, "float32") for name in names_of(count)}
    held = {name: jax.numpy.asarray(value) for name, value in (values or {}).items()}
    return Contender(
        save=lambda path: equinox.tree_serialise_leaves(path, held),
        load=lambda path: jax.block_until_ready(equinox.tree_deserialise_leaves(path, like)),
    )


def orbax(count: int, values: Values) -> Contender:
    import jax
    import orbax.checkpoint as ocp

    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {
        name: jax.ShapeDtypeStruct(SHAPE, "float32", sharding=device) for name in names_of(count)
    }
    held = {name: jax.numpy.asarray(value) for name, value in (values or {}).items()}
    checkpointer = ocp.StandardCheckpointer()

    def save(path: Path) -> None:
        checkpointer.save(path.absolute(), held)
        checkpointer.wait_until_finished()

    def load(path: Path) -> Any:
        return jax.block_until_ready(checkpointer.restore(path.absolute(), like))

    return Contender(save, load, durable=True)


COPY, ANSATZ, ANSATZ_PT = "plain copy", "Ansatz", "Ansatz, .pt of PyTorch"
SAFETENSORS, TORCH = "safetensors", "PyTorch"
CONTENDERS: dict[str, tuple[str | None, Callable[[int, Values], Contender]]] = {
    COPY: (None, copy),
    ANSATZ: ("ansatz", ansatz),
    ANSATZ_PT: ("torch", ansatz_pt),
    SAFETENSORS: ("safetensors", safetensors),
    "safetensors to JAX arrays": ("safetensors", safetensors_jax),
    TORCH: ("torch", torch),
    "Equinox": ("equinox", equinox),
    "Orbax": ("orbax", orbax),
}
SUFFIXES = {ANSATZ: ".safetensors", TORCH: ".pt", "Equinox": ".eqx"}


# -- measuring ------------------------------------------------------------------------------------


def with_fsync(save: Callable[[Path], Any]) -> Callable[[Path], None]:
    """The same save, which waits until the file is on the disk."""

    def saved(path: Path) -> None:
        save(path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    return saved


def in_turns(
    calls: dict[str, Callable[[], Any]], before: Callable[[], None], rounds: int
) -> harness.Times:
    """Time the calls in turns, each from the same start and once before it counts."""
    names = list(calls)
    times: harness.Times = {name: [] for name in names}
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            before()
            start = time.perf_counter()
            held = calls[name]()
            took = time.perf_counter() - start
            del held
            if turn:
                times[name].append(took)
    return times


def remove(path: Path) -> None:
    """Remove a file, or the folder that Orbax makes."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def load(name: str, count: str, path: str) -> dict[str, float]:
    """Load in this process, which has not loaded anything; seconds, and bytes at the peak."""
    load = CONTENDERS[name][1](int(count), None).load
    gc.collect()
    with harness.Memory() as used:
        start = time.perf_counter()
        held = load(Path(path))
        took = time.perf_counter() - start
    del held
    return {"seconds": took, "peak": used.extra}


def in_fresh_processes(files: dict[str, Path], count: int, rounds: int) -> tuple[Any, Any]:
    """The seconds and the peaks of each contender's load, round by round."""
    names = list(files)
    times: harness.Times = {name: [] for name in names}
    peaks: dict[str, int] = {}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            found = harness.fresh(__file__, "load", name, count, files[name])
            times[name].append(found["seconds"])
            peaks[name] = max(peaks.get(name, 0), found["peak"])
    return times, peaks


def main(options: harness.Options) -> None:
    count, rounds = (QUICK_ARRAYS, 2) if options.quick else (ARRAYS, 5)
    values = arrays_of(count)
    nbytes = sum(value.nbytes for value in values.values())
    there = {
        name: make for name, (package, make) in CONTENDERS.items() if harness.installed(package)
    }
    contenders = {name: make(count, values) for name, make in there.items()}
    with tempfile.TemporaryDirectory(dir=FOLDER or harness.RESULTS) as folder:
        files = {
            name: Path(folder) / f"{i}{SUFFIXES.get(name, '')}" for i, name in enumerate(contenders)
        }
        saves = {}
        for name, contender in contenders.items():
            if contender.save is None:
                continue
            if not contender.durable:
                saves[name] = functools.partial(contender.save, files[name])
            durable = contender.save if contender.durable else with_fsync(contender.save)
            saves[f"{name}, on disk"] = functools.partial(durable, files[name])

        def clear() -> None:
            for path in files.values():
                remove(path)
            os.sync()  # Or one would wait for what another left to be written.
            gc.collect()

        saved = in_turns(saves, clear, rounds)
        clear()
        for name, contender in contenders.items():
            if contender.save is None:
                files[name] = files[contender.reads]
            else:
                contender.save(files[name])
        del contenders, values
        loaded, peaks = in_fresh_processes(files, count, rounds)
    show(options, nbytes, saved, loaded, peaks)


def show(
    options: harness.Options,
    nbytes: int,
    saved: harness.Times,
    loaded: harness.Times,
    peaks: dict[str, int],
) -> None:
    """Print the tables, say which goals were reached, and write both."""

    def speed(times: harness.Times, name: str, yardstick: str) -> list[str]:
        least = min(times[name])
        return [
            harness.seconds(least),
            f"{nbytes / least / 1e9:.2f} GB/s",
            f"{harness.ratio(times, name, yardstick):.2f}",
        ]

    disk = f"{SAFETENSORS}, on disk"
    harness.table(
        f"Saving {nbytes / 1e6:.0f} MB; ratios to safetensors, and to safetensors with fsync",
        ["", "fastest", "speed", "written", "on disk"],
        [
            [
                name,
                *speed(saved, name, SAFETENSORS),
                f"{harness.ratio(saved, name, disk):.2f}" if name.endswith("on disk") else "",
            ]
            for name in sorted(saved, key=lambda name: (name.endswith("on disk"), min(saved[name])))
        ],
    )
    harness.table(
        f"Loading {nbytes / 1e6:.0f} MB from the page cache; ratios to safetensors",
        ["", "fastest", "speed", "ratio", "peak memory", "of the file"],
        [
            [
                name,
                *speed(loaded, name, SAFETENSORS),
                harness.megabytes(peaks[name]),
                f"{peaks[name] / nbytes:.2f}",
            ]
            for name in loaded
        ],
    )
    own = f"{ANSATZ}, on disk"
    written, on_disk = (harness.ratio(saved, own, each) for each in (SAFETENSORS, disk))
    load = harness.ratio(loaded, ANSATZ, SAFETENSORS)
    goals = [
        harness.goal(load <= 1.1, f"load takes at most 1.1 times safetensors alone: {load:.2f}"),
        harness.goal(
            on_disk <= 1.2, f"save takes at most 1.2 times safetensors with fsync: {on_disk:.2f}"
        ),
        harness.goal(
            written <= 1.2, f"save takes at most 1.2 times safetensors without: {written:.2f}"
        ),
        harness.goal(
            peaks[ANSATZ] <= 1.1 * nbytes,
            f"peak memory of a load is at most 1.1 times the file: {peaks[ANSATZ] / nbytes:.2f}",
        ),
    ]
    if ANSATZ_PT in loaded:
        pt = harness.ratio(loaded, ANSATZ_PT, TORCH)
        goals.append(harness.goal(pt <= 1.0, f".pt is loaded no slower than by torch: {pt:.2f}"))
    results = {
        "bytes": nbytes,
        "save": {name: harness.summary(times) for name, times in saved.items()},
        "load": {name: harness.summary(times) for name, times in loaded.items()},
        "peak": peaks,
    }
    harness.write(options, results, goals)


if __name__ == "__main__":
    given = harness.parse("checkpoint", str(__doc__).split("\n\n")[0], {"load": load})
    harness.introduce("Checkpoints", given, ["torch", "equinox", "orbax"])
    main(given)
