"""Checkpoints of Orbax: every array is what Orbax put there, and nothing comes from elsewhere."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import atomic, convert, load_arrays, orbax_folder, save_arrays
from ansatz.checkpoint.formats import open_file
from ansatz.checkpoint.ties import Alias

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


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_mutated_checkpoint_is_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz") / "a"
    shutil.copytree(FORMATS / "orbax", folder)
    told = [folder / "_METADATA", folder / "manifest.ocdbt", *sorted(folder.glob("*/**/d/*"))]
    chosen = data.draw(st.sampled_from([*told, *folder.glob("d/*")]))
    raw = bytearray(chosen.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    chosen.write_bytes(raw)
    with contextlib.suppress(az.CheckpointError):
        load_arrays(folder)


# -- writing --------------------------------------------------------------------------------------


def test_arrays_of_every_dtype_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.orbax"
    held = {f"all.{d}": np.arange(6).reshape(2, 3).astype(d) for d in orbax_folder.DTYPES}
    held |= {"step": np.array(7), "none": np.zeros((0, 3)), "größe.权重": np.ones((2, 3)).T}
    held["mlp/~/linear.w"] = np.arange(3, dtype=">f4")
    save_arrays(path, held)
    found = load_arrays(path)
    assert set(found) == set(held)
    for name, array in held.items():
        assert found[name].dtype == array.dtype.newbyteorder("="), name
        # As bytes: one of these dtypes has NaN for zero.
        assert found[name].tobytes() == array.astype(found[name].dtype).tobytes(), name


def test_ties_and_metadata_come_back(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    az.tie(net, "0.weight", "1.weight")
    net.save(tmp_path / "a.orbax", metadata={"made": "by hand"})
    contents = open_file(tmp_path / "a.orbax")
    assert contents.metadata["made"] == "by hand"
    assert contents.ties == {"0.weight": (Alias("1.weight"),)}
    convert(tmp_path / "a.orbax", tmp_path / "b.safetensors")
    assert open_file(tmp_path / "b.safetensors").ties == contents.ties


@pytest.mark.parametrize("swaps", [True, False])
def test_an_older_checkpoint_is_replaced_and_a_reader_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool
) -> None:
    if not swaps:
        monkeypatch.setattr(atomic, "_exchanged", lambda *_: False)
    path = tmp_path / "a.orbax"
    path.mkdir()
    save_arrays(path, {"w": np.zeros(3)})
    before = open_file(path)
    save_arrays(path, {"v": np.ones(2)})
    with pytest.raises(az.CheckpointError, match="has changed since it was opened"):
        before.read("w")
    assert load_arrays(path)["v"].tolist() == [1, 1]
    assert [each.name for each in tmp_path.iterdir()] == ["a.orbax"]


@pytest.mark.parametrize("foreign", ["notes.txt", ".hidden", "checkpoints/x"])
def test_what_somebody_else_put_there_is_never_replaced(tmp_path: Path, foreign: str) -> None:
    for path, sound in ((tmp_path / "mine.orbax", False), (tmp_path / "a.orbax", True)):
        if sound:
            save_arrays(path, {"w": np.zeros(3)})
        (path / foreign).parent.mkdir(parents=True, exist_ok=True)
        (path / foreign).write_text("precious")
        with pytest.raises(az.CheckpointError, match="which Orbax did not write"):
            save_arrays(path, {"w": np.ones(3)})
        assert (path / foreign).read_text() == "precious"
        assert not list(tmp_path.glob(".ansatz-*"))


def test_a_file_in_the_place_of_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "a.orbax").write_text("precious")
    with pytest.raises(NotADirectoryError, match="is a file"):
        save_arrays(tmp_path / "a.orbax", {"w": np.ones(3)})
    assert (tmp_path / "a.orbax").read_text() == "precious"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a.b"], "goes on where another name ends"),
        (["a..b"], "no name in a tree"),
        ([""], "no name in a tree"),
        (["a\0"], "no name in a tree"),
    ],
)
def test_names_that_are_no_tree_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        save_arrays(tmp_path / "a.orbax", {name: np.ones(1) for name in names})
    assert list(tmp_path.iterdir()) == []
