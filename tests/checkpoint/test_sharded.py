"""Checkpoints in several files: read together, and never from elsewhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import load_arrays, save_arrays
from ansatz.checkpoint.formats import open_file

FORMATS = Path(__file__).parent.parent / "formats"


def index(folder: Path, arrays: Any, **more: Any) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": arrays, **more}))
    return path


def two_files(folder: Path) -> Path:
    save_arrays(folder / "1.safetensors", {"weight": np.ones((3, 2), "float32")})
    save_arrays(folder / "2.safetensors", {"bias": np.zeros(3, "float32")})
    return index(folder, {"weight": "1.safetensors", "bias": "2.safetensors"})


@pytest.mark.parametrize("name", ["", "pytorch_model.bin.index.json"])
def test_the_files_of_pytorch_are_one_checkpoint(name: str) -> None:
    contents = open_file(FORMATS / "sharded" / name)
    assert contents.format == "torch, 2 files"
    assert contents.read("a.weight").tolist() == [[0, 1], [2, 3], [4, 5]]
    assert contents.read("b.weight").dtype == np.float16


def test_a_network_is_loaded_from_an_index_or_its_folder(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    for source in (path, tmp_path):
        net = nn.Dense(3)
        assert len(net.load(source).paths("match", "settled")) == 2


@pytest.mark.parametrize(
    "name", ["../1.safetensors", "/etc/passwd", "a/1.safetensors", "..", ".", "", "C:x", "a\\b"]
)
def test_a_name_that_is_not_next_to_the_index_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(az.CheckpointError, match="is not next to it"):
        load_arrays(index(tmp_path, {"weight": name}))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    save_arrays(tmp_path / "1.safetensors", {"weight": np.ones(1)})
    (inside / "1.safetensors").symlink_to(tmp_path / "1.safetensors")
    with pytest.raises(az.CheckpointError, match="is a link out of its folder"):
        load_arrays(index(inside, {"weight": "1.safetensors"}))


def test_the_links_of_the_hugging_face_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1a2b"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_arrays(blobs / "abc", {"weight": np.ones(1)})
    (snapshot / "1.safetensors").symlink_to(blobs / "abc")
    assert load_arrays(index(snapshot, {"weight": "1.safetensors"}))["weight"].tolist() == [1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weight": "3.safetensors"}, "'3.safetensors', which is not there"),
        ({"weight": "1.safetensors", "x": "1.safetensors"}, "'x' is in '1.safetensors'.*lacks it"),
        ({"weight": "1.safetensors"}, ""),
        ({"bias": "2.safetensors", "weight": "2.safetensors"}, "lacks it"),
        ({"weight": 3}, "are no text"),
        (["weight"], "damaged index"),
    ],
)
def test_an_index_that_contradicts_its_files_is_refused(
    tmp_path: Path, arrays: Any, message: str
) -> None:
    two_files(tmp_path)
    save_arrays(tmp_path / "1.safetensors", {"weight": np.ones(1), "more": np.ones(1)})
    with pytest.raises(az.CheckpointError, match=message or "'more', of which the index"):
        load_arrays(index(tmp_path, arrays))


@pytest.mark.parametrize(
    "text",
    ['{"weight_map": {"a": "x", "a": "y"}}', '{"weight_map": ' + "[" * 100_000, '{"weight_map": 1'],
)
def test_an_index_that_is_no_sound_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.index.json").write_text(text)
    with pytest.raises(az.CheckpointError, match=r"a\.index\.json' is a damaged index"):
        load_arrays(tmp_path / "a.index.json")


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        az.CheckpointError,
        match=r"is a folder with none of model.*give the path of a file itself \(no file",
    ):
        load_arrays(tmp_path)
