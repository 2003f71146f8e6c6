"""Checkpoints of Orbax: every array is what Orbax put there, and nothing comes from elsewhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz.checkpoint import convert, load_arrays
from ansatz.checkpoint.formats import open_file

FORMATS = Path(__file__).parent.parent / "formats"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FORMATS / "orbax", tmp_path / "orbax"))


def described(folder: Path, change: Any) -> None:
    told = json.loads((folder / "_METADATA").read_text())
    change(told)
    (folder / "_METADATA").write_text(json.dumps(told))


def test_every_array_is_what_orbax_put_there(folder: Path, tmp_path: Path) -> None:
    contents = open_file(folder)
    with np.load(FORMATS / "orbax.expected.npz") as expected:
        assert set(contents.entries) == set(expected.files)
        for name in expected.files:
            found = contents.read(name)
            if name == "params.Dense_0.bias":
                assert found.dtype == jnp.bfloat16
                found = found.astype("f4")
            assert found.dtype == expected[name].dtype
            np.testing.assert_array_equal(found, expected[name])
    convert(folder, tmp_path / "a.safetensors")
    assert load_arrays(tmp_path / "a.safetensors")["step"] == 7


def test_an_item_of_a_manager_is_found_in_its_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    folder.rename(tmp_path / "7" / "default")
    assert open_file(tmp_path / "7").format == "orbax"


def test_a_link_in_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "d" / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(az.CheckpointError, match="holds the link 'x'"):
        load_arrays(folder)


def key(*keys: Any) -> dict[str, Any]:
    parts = [{"key": each, "key_type": 2} for each in keys]
    return {"key_metadata": parts, "value_metadata": {"skip_deserialize": False}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.clear(), "no description of a checkpoint"),
        (lambda told: told.update(tree_metadata=[]), "no description of a checkpoint"),
        (lambda told: told.update(tree_metadata={"x": key(3)}), "a key that is no text"),
        (lambda told: told.update(tree_metadata={"x": key()}), "a key that is no text"),
        (lambda told: told.update(use_ocdbt=False), "cannot be opened"),
        (lambda told: told.update(use_zarr3=True), "cannot be opened"),
        (lambda told: told["tree_metadata"].update(x=key("absent")), "cannot be opened"),
        (lambda told: told["tree_metadata"].update(x=key("..", "a/b")), "cannot be opened"),
        (lambda told: told["tree_metadata"].update(x=key("step")), "two values"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    folder: Path, change: Any, message: str
) -> None:
    described(folder, change)
    with pytest.raises(az.CheckpointError, match=message):
        load_arrays(folder)


def test_damaged_data_are_refused(folder: Path) -> None:
    for path in folder.rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-9] + b"\xff" * 9)
    with pytest.raises(az.CheckpointError, match=r"cannot be opened|cannot be read"):
        load_arrays(folder)
