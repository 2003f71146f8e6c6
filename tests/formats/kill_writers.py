"""Kill writers at random moments, and look at what they leave: the old file whole, or the new one.

    python tests/formats/kill_writers.py 200

Two writers at a time convert different arrays to one target, so it also shows that writers do not
interleave.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ansatz.checkpoint import convert, load_arrays, save_arrays
from ansatz.core.errors import CheckpointError


def start(source: str, target: Path) -> int:
    """A process that writes for ever; the identifier to kill it by."""
    if target.suffix == ".orbax":  # tensorstore has threads, which a fork would not survive.
        command = [sys.executable, __file__, "--write", source, str(target)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        return child.pid
    with warnings.catch_warnings():
        # JAX warns of forks, since it may hold locks; nothing of it was started here.
        warnings.simplefilter("ignore")
        forked = os.fork()
    if forked == 0:
        write(source, target)
    return forked


def write(source: str, target: Path) -> None:
    """Write for ever."""
    held = load_arrays(source)
    while True:
        try:
            convert(source, target)
            save_arrays(target, held)
        except CheckpointError as error:
            # The other writer came between the writing and the look at what was written.
            if "has changed" not in str(error):
                print(error, file=sys.stderr)
                os._exit(1)


def read_whole(target: Path) -> dict[str, Any]:
    """What is there, although the other writer may replace it meanwhile."""
    while True:
        try:
            found: dict[str, Any] = load_arrays(target)
            return found
        except CheckpointError as error:
            if "has changed" not in str(error):
                raise


def main(kills: int) -> None:
    print("seed", seed := random.randrange(1 << 30))
    chance = random.Random(seed)
    seen = {0: 0, 1: 0}
    with tempfile.TemporaryDirectory() as folder:
        for value in (0, 1):
            array = np.full(300_000, value, "float64")
            save_arrays(f"{folder}/source{value}.npz", {"a": array, "b": array[:1000]})
        endings = (".safetensors", ".npz", ".params", ".msgpack", ".orbax")
        for round_ in range(kills // 2):
            # One after the other: after that of Orbax, this process cannot be forked any more.
            target = Path(folder) / f"target{endings[round_ * len(endings) // (kills // 2)]}"
            save_arrays(target, load_arrays(f"{folder}/source0.npz"))
            writers = [start(f"{folder}/source{value}.npz", target) for value in (0, 1)]
            for writer in writers:
                time.sleep(chance.uniform(0, 0.1))
                os.kill(writer, signal.SIGKILL)
                _, status = os.waitpid(writer, 0)
                assert os.WIFSIGNALED(status), "the writer had ended by itself"
                found = read_whole(target)
                values = {float(array[0]) for array in found.values()}
                whole = [array.shape for array in found.values()] == [(300_000,), (1000,)]
                constant = all((array == array[0]).all() for array in found.values())
                assert (whole, constant, len(values)) == (True, True, 1), (target, round_)
                seen[int(values.pop())] += 1
        left = [path.name for path in Path(folder).iterdir() if path.name.startswith(".ansatz-")]
    print(f"{sum(seen.values())} kills: the target was whole each time {seen}")
    print(f"{len(left)} temporary files and folders were left behind by the killed")


if __name__ == "__main__" and sys.argv[1:2] == ["--write"]:
    print("ready", flush=True)
    write(sys.argv[2], Path(sys.argv[3]))
elif __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
