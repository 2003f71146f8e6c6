"""What it takes to save and to load 500 MB in 200 arrays: time, and memory of the load.

Everybody saves the same float32 arrays to one file (or folder), and loads them again, each in the
way its own documentation says: Ansatz a network by `net.save` and `net.load`, the others a dict of
arrays. The limit is a plain copy of the bytes, one `write` or one `read` for each array.

A save comes in two kinds. What is only *written* may still be lost when the power fails; what is
*on disk* was awaited with `fsync`. Ansatz and Orbax always wait; all others take part twice, as
they are and with an `fsync` after them, and Ansatz once more with `fsync` taken away from it, which
is nothing that it offers. In a folder that is kept in memory there is nothing to wait for anyway.

Each load happens in a fresh process, after its imports and after its backend has started: who loads
twice in one process gets memory that the system need not clear again, or not, as chance has it.
Before the clock of a save or load starts, its process takes twice the memory that it will need and
gives it back, and a file to be loaded is read through: in a virtual machine, memory that was not
used lately comes from the host, which takes longer than all the rest and hits whom it hits.

The peers load with one thread, Ansatz with as many as the machine has, up to four; *processor* is
the time of all threads together. `taskset -c 0 python benchmarks/checkpoint.py` shows one thread.

    python benchmarks/checkpoint.py [--quick] [--json PATH]
    CHECKPOINT_FOLDER=/dev/shm python benchmarks/checkpoint.py --json PATH
"""

from __future__ import annotations

import functools
import gc
import math
import mmap
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import harness
import numpy as np

ARRAYS, QUICK_ARRAYS, SHAPE = 200, 20, (625, 1000)
ROUNDS, QUICK_ROUNDS = 7, 3
FOLDER = os.environ.get("CHECKPOINT_FOLDER")  # Not the system's folder for temporary files.


class Contender(NamedTuple):
    """One way of saving and loading.

    Attributes:
        save: writes everything to a path.
        load: reads everything from it and returns it, as NumPy arrays where the library is not of
            JAX.
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
SAFETENSORS, SAFETENSORS_JAX, TORCH = "safetensors", "safetensors to JAX arrays", "PyTorch"
DISK = ", on disk"
UNSYNCED = f"{ANSATZ}, made not to wait"
CONTENDERS: dict[str, tuple[str | None, Callable[[int, Values], Contender]]] = {
    COPY: (None, copy),
    ANSATZ: ("ansatz", ansatz),
    ANSATZ_PT: ("torch", ansatz_pt),
    SAFETENSORS: ("safetensors", safetensors),
    SAFETENSORS_JAX: ("safetensors", safetensors_jax),
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


class Clock:
    """The seconds that a block takes, by the clock and of all processors together."""

    def __enter__(self) -> Clock:
        self._start, self._used = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self.processor = time.process_time() - self._used


class Measured(NamedTuple):
    """What was measured of each contender, round by round, and the bytes at its peak."""

    seconds: harness.Times
    processor: harness.Times
    peak: dict[str, int]

    @classmethod
    def of(cls, names: list[str]) -> Measured:
        return cls({name: [] for name in names}, {name: [] for name in names}, {})


def without_fsync(save: Callable[[Path], Any]) -> Callable[[Path], None]:
    """The same save, which believes that the file is on the disk."""

    def saved(path: Path) -> None:
        with mock.patch("os.fsync"):
            save(path)

    return saved


def in_turns(
    calls: dict[str, Callable[[], Any]], before: Callable[[], None], rounds: int
) -> Measured:
    """Time the calls in turns, each from the same start and once before it counts."""
    names = list(calls)
    measured = Measured.of(names)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            before()
            with Clock() as clock:
                calls[name]()
            if turn:
                measured.seconds[name].append(clock.seconds)
                measured.processor[name].append(clock.processor)
    return measured


def remove(path: Path) -> None:
    """Remove a file, or the folder that Orbax makes."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def load(name: str, count: str, path: str) -> dict[str, float]:
    """Load in this process, which has not loaded anything; seconds, and bytes at the peak."""
    load = CONTENDERS[name][1](int(count), None).load
    take_and_give_back(2 * int(count) * math.prod(SHAPE) * 4)
    gc.collect()
    with harness.Memory() as used, Clock() as clock:
        held = load(Path(path))
    del held
    return {"seconds": clock.seconds, "processor": clock.processor, "peak": used.extra}


def take_and_give_back(nbytes: int) -> None:
    """Have memory that the host of a virtual machine need not find first."""
    with mmap.mmap(-1, nbytes) as taken:
        for page in range(0, nbytes, mmap.PAGESIZE):
            taken[page] = 1


def read_through(path: Path) -> None:
    """Have a file, or all files of a folder, in the page cache."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb", buffering=0) as opened:
                while opened.read(1 << 24):
                    pass


def in_fresh_processes(files: dict[str, Path], count: int, rounds: int) -> Measured:
    """The load of each contender, round by round."""
    names = list(files)
    measured = Measured.of(names)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            read_through(files[name])
            found = harness.fresh(__file__, "load", name, count, files[name])
            measured.seconds[name].append(found["seconds"])
            measured.processor[name].append(found["processor"])
            measured.peak[name] = max(measured.peak.get(name, 0), found["peak"])
    return measured


def main(options: harness.Options) -> None:
    count, rounds = (QUICK_ARRAYS, QUICK_ROUNDS) if options.quick else (ARRAYS, ROUNDS)
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
            if name == ANSATZ:
                saves[UNSYNCED] = functools.partial(without_fsync(contender.save), files[name])
            if not contender.durable:
                saves[name] = functools.partial(contender.save, files[name])
            durable = contender.save if contender.durable else with_fsync(contender.save)
            saves[f"{name}{DISK}"] = functools.partial(durable, files[name])

        def clear() -> None:
            for path in files.values():
                remove(path)
            os.sync()  # Or one would wait for what another left to be written.
            gc.collect()
            take_and_give_back(2 * nbytes)

        saved = in_turns(saves, clear, rounds)
        clear()
        for name, contender in contenders.items():
            if contender.save is None:
                files[name] = files[contender.reads]
            else:
                contender.save(files[name])
        del contenders, values
        loaded = in_fresh_processes(files, count, rounds)
    show(options, nbytes, saved, loaded)


def show(options: harness.Options, nbytes: int, saved: Measured, loaded: Measured) -> None:
    """Print the tables, say which goals were reached, and write both."""

    def ratio(measured: Measured, name: str, yardstick: str) -> float:
        return harness.ratio(measured.seconds, name, yardstick)

    def speed(measured: Measured, name: str) -> list[str]:
        middle = statistics.median(measured.seconds[name])
        return [
            harness.seconds(middle),
            harness.seconds(statistics.median(measured.processor[name])),
            f"{nbytes / middle / 1e9:.2f} GB/s",
        ]

    def ratios(measured: Measured, name: str, yardsticks: tuple[str, ...]) -> list[str]:
        return [
            f"{ratio(measured, name, each):.2f}" if each in measured.seconds else ""
            for each in yardsticks
        ]

    def order(name: str) -> tuple[bool, float]:
        return name.endswith(DISK), statistics.median(saved.seconds[name])

    disk = f"{SAFETENSORS}{DISK}"
    harness.table(
        f"Saving {nbytes / 1e6:.0f} MB; ratios to safetensors, and to safetensors with fsync",
        ["", "median", "processor", "speed", "written", "on disk"],
        [
            [
                name,
                *speed(saved, name),
                *ratios(saved, name, (SAFETENSORS, disk) if order(name)[0] else (SAFETENSORS, "")),
            ]
            for name in sorted(saved.seconds, key=order)
        ],
    )
    harness.table(
        f"Loading {nbytes / 1e6:.0f} MB from the page cache; ratios to safetensors as NumPy arrays "
        "and as JAX arrays",
        ["", "median", "processor", "speed", "NumPy", "JAX", "peak memory", "of the file"],
        [
            [
                name,
                *speed(loaded, name),
                *ratios(loaded, name, (SAFETENSORS, SAFETENSORS_JAX)),
                harness.megabytes(loaded.peak[name]),
                f"{loaded.peak[name] / nbytes:.2f}",
            ]
            for name in loaded.seconds
        ],
    )
    own = f"{ANSATZ}{DISK}"
    written, on_disk = ratio(saved, UNSYNCED, SAFETENSORS), ratio(saved, own, disk)
    load, peak = ratio(loaded, ANSATZ, SAFETENSORS), loaded.peak[ANSATZ] / nbytes
    goals = [
        harness.goal(load <= 1.1, f"load takes at most 1.1 times safetensors alone: {load:.2f}"),
        harness.goal(
            on_disk <= 1.2,
            f"save takes at most 1.2 times safetensors, both synced: {on_disk:.2f}",
        ),
        harness.goal(
            written <= 1.2,
            f"save takes at most 1.2 times safetensors, neither synced: {written:.2f}",
        ),
        harness.goal(
            peak <= 1.1, f"peak memory of a load is at most 1.1 times the file: {peak:.2f}"
        ),
    ]
    if ANSATZ_PT in loaded.seconds:
        pt = ratio(loaded, ANSATZ_PT, TORCH)
        goals.append(harness.goal(pt <= 1.0, f".pt is loaded no slower than by torch: {pt:.2f}"))
    results = {
        "bytes": nbytes,
        "save": {name: harness.summary(times) for name, times in saved.seconds.items()},
        "load": {name: harness.summary(times) for name, times in loaded.seconds.items()},
        "peak": loaded.peak,
    }
    harness.write(options, results, goals)


if __name__ == "__main__":
    given = harness.parse("checkpoint", str(__doc__).split("\n\n")[0], {"load": load})
    harness.introduce("Checkpoints", given, ["torch", "equinox", "orbax"])
    main(given)
