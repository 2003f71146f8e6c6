"""A full disk gives an error that says so, and leaves the old file and nothing else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ansatz.checkpoint import load_arrays, save_arrays
from ansatz.checkpoint.atomic import replacing

SUFFIXES = [".safetensors", ".npz", ".npy", ".params", ".msgpack", ".weights.h5", ".orbax"]

# In a process of its own, in which no file may have more than 20,000 bytes.
WRITERS = """
import resource, sys
import numpy as np
from ansatz import nn
from ansatz.checkpoint import convert, load_arrays, save_arrays

net = nn.Sequential(nn.Dense(100, in_units=100))
net.initialize(seed=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for suffix in sys.argv[1:]:
    name = "layers.dense.0"
    writers = {
        "save_arrays": lambda: save_arrays("kept" + suffix, load_arrays("large.npz")),
        "convert": lambda: convert("large.npz", "kept" + suffix, lossy=True),
    }
    if suffix == ".safetensors":
        writers["save"] = lambda: net.save("kept" + suffix)
    for how, write in writers.items():
        try:
            write()
        except OSError as error:
            print(how, suffix, error)
        else:
            print(how, suffix, "was written")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_what_has_no_room_is_not_written_and_the_old_file_stays(tmp_path: Path) -> None:
    # Without a pattern, for a format that compresses.
    large = {"layers.dense.0": np.random.default_rng(0).normal(size=10_000).astype("float32")}
    save_arrays(tmp_path / "large.npz", large)
    for suffix in SUFFIXES:
        save_arrays(tmp_path / f"kept{suffix}", {"layers.dense.0": np.zeros(2, "float32")})
    before = contents_of(tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", WRITERS, *SUFFIXES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert len(lines) == 2 * len(SUFFIXES) + 1
    for line in lines:
        _, suffix, told = line.split(maxsplit=2)
        assert "File too large" in told, line
        assert "what was there before is as it was" in told, line
        assert f"kept{suffix}" in told, line
    assert contents_of(tmp_path) == before


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what killed writers leave behind -------------------------------------------------------------


def left_over(folder: Path, *, hours: float) -> Path:
    path = folder / ".ansatz-0123456789abcdef.tmp"
    path.write_bytes(b"half of a file")
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is removed on Windows")
def test_what_a_killed_writer_left_is_removed_by_a_later_one(tmp_path: Path) -> None:
    path = left_over(tmp_path, hours=2)
    save_arrays(tmp_path / "a.safetensors", [np.ones(3)])
    assert not path.exists()


def test_what_somebody_may_still_be_writing_stays(tmp_path: Path) -> None:
    path = left_over(tmp_path, hours=0.5)
    save_arrays(tmp_path / "a.safetensors", [np.ones(3)])
    assert path.exists()


def test_a_file_that_a_living_writer_holds_stays_however_long_it_takes(tmp_path: Path) -> None:
    with replacing(tmp_path / "slow") as file:
        (temporary,) = tmp_path.iterdir()
        os.utime(temporary, (0, 0))
        save_arrays(tmp_path / "a.safetensors", [np.ones(3)])
        assert temporary.exists()
        file.write(b"all of it")
    assert (tmp_path / "slow").read_bytes() == b"all of it"


@pytest.mark.parametrize("name", [".notes.tmp", ".ansatz-0123.tmp", "ansatz-0123456789abcdef.tmp"])
def test_files_of_others_stay(tmp_path: Path, name: str) -> None:
    path = left_over(tmp_path, hours=100).rename(tmp_path / name)
    save_arrays(tmp_path / "a.safetensors", [np.ones(3)])
    assert path.exists()
    assert load_arrays(tmp_path / "a.safetensors")[0].tolist() == [1, 1, 1]
