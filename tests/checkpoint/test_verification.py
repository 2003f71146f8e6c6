"""Verifying: every byte that a checksum covers is compared, in every file of a checkpoint."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ansatz as az
from ansatz.checkpoint import save_arrays
from ansatz.checkpoint.formats import open_file
from ansatz.checkpoint.verification import bytes_to_verify, verify_file
from ansatz.checkpoint.zip_files import members

FORMATS = Path(__file__).parent.parent / "formats"
INDEX = "pytorch_model.bin.index.json"


def shards(folder: Path) -> list[Path]:
    """A copy of a checkpoint of PyTorch in two files."""
    for path in (FORMATS / "sharded").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return sorted(folder.glob("*.bin"))


@pytest.mark.parametrize("which", [0, 1])
def test_the_checksums_of_every_shard_are_compared(tmp_path: Path, which: int) -> None:
    path = shards(tmp_path)[which]
    raw = bytearray(path.read_bytes())
    with open(path, "rb") as file:
        found = members(file, len(raw), path.name)
    storage = next(member for name, member in found.items() if "/data/" in name)
    raw[storage.offset] ^= 1
    path.write_bytes(raw)
    contents = open_file(tmp_path / INDEX)  # Whose structure is as sound as before.
    with pytest.raises(az.CheckpointError, match="does not have the checksum"):
        verify_file(contents)


@pytest.mark.parametrize("name", ["sharded", "keras.keras", "torch_views.pt", "gguf.gguf"])
def test_progress_adds_up_to_what_was_announced(name: str) -> None:
    contents = open_file(FORMATS / name)
    told: list[int] = []
    verify_file(contents, lambda _, nbytes: told.append(nbytes))
    assert sum(told) == bytes_to_verify(contents)
    assert min(told) >= 0


def test_a_member_in_which_no_array_stands_is_compared_too(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"w": np.ones(3)})
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.write(FORMATS / "keras.weights.h5", "model.weights.h5")
        archive.writestr("config.json", json.dumps({"known": "text"}))
    raw = (tmp_path / "a.keras").read_bytes()
    contents = open_file(tmp_path / "a.keras")
    assert verify_file(contents) == ()
    (tmp_path / "a.keras").write_bytes(raw.replace(b'"known"', b'"knowm"'))
    with pytest.raises(az.CheckpointError, match="does not have the checksum"):
        verify_file(open_file(tmp_path / "a.keras"))
