"""What files of other formats look like."""

import errno
import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ansatz as az
from ansatz.checkpoint import load_arrays, open_file
from ansatz.checkpoint.identify import describe, identify


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight=np.ones(3))
    return file.getvalue()


def archive(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as held:
        held.writestr(name, b"content")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (pickle.dumps({"weight": [1.0]}, protocol=2), "a pickle"),
        (pickle.dumps({"weight": [1.0]}, protocol=5), "a pickle"),
        (archive("archive/data.pkl"), "a PyTorch file"),
        (archive("metadata.json"), "Keras"),
        (archive("notes.txt"), "a ZIP archive that begins with 'notes.txt'"),
        (npz(), "a NumPy archive"),
        (npy(), "a NumPy array file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        ((0x112).to_bytes(8, "little") + bytes(8), "MXNet"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b'\n{"metadata": {}, "weight_map": {}}', "several files"),
        (b'{"a": 1}', "a JSON text"),
    ],
)
def test_a_file_is_told_by_its_first_bytes(head: bytes, expected: str) -> None:
    assert expected in (describe(head) or "")


@pytest.mark.parametrize("head", [b"", b"\x00" * 40, b"PK", b"\x80", b"hello"])
def test_what_nobody_knows_is_not_guessed(head: bytes) -> None:
    assert describe(head) is None


def test_who_has_a_pickle_is_told_how_to_convert_it() -> None:
    assert "safetensors.torch.save_file(torch.load(path, weights_only=True)" in (
        describe(pickle.dumps([1], protocol=4)) or ""
    )


def test_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(az.CheckpointError, match="is a device or a pipe"):
        load_arrays(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch_state_dict.pt", "torch"),
        ("sharded/pytorch_model.bin.index.json", "index"),
        ("mxnet1_net.params", "mxnet"),
        ("mxnet2_net.params", "npz"),
        ("mxnet2_one.params", "npy"),
        ("keras.weights.h5", "keras-h5"),
        ("keras.keras", "keras"),
        ("flax.msgpack", "msgpack"),
        ("gguf.gguf", "gguf"),
        ("onnx.onnx", "onnx"),
        ("torch_dtypes.expected.safetensors", "safetensors"),
        ("torch_legacy.pth", None),
        ("make_torch.py", None),
    ],
)
def test_a_file_is_known_by_its_content_whatever_its_name(
    tmp_path: Path, name: str, expected: str | None
) -> None:
    formats = Path(__file__).parent.parent / "formats"
    shutil.copy(formats / name, tmp_path / "weights.dat")
    assert identify(tmp_path / "weights.dat") == expected


def test_the_error_about_a_file_that_is_not_there_is_one_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").touch()
    with pytest.raises(FileNotFoundError) as caught:
        open_file(tmp_path / "weihgts.npz")
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == str(tmp_path / "weihgts.npz")
    assert caught.value.strerror == "No such file (did you mean 'weights.npz'?)"


def test_a_folder_that_may_not_be_listed_is_no_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(FileNotFoundError, match="cannot be listed") as caught:
        open_file(tmp_path / "absent.npz")
    assert caught.value.filename == str(tmp_path / "absent.npz")


def test_a_file_in_a_folder_that_may_not_be_entered_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, **options: bool) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refuse)  # As the system does for all but root.
    with pytest.raises(PermissionError) as caught:
        open_file("closed/weights.npz")
    assert caught.value.filename == "closed/weights.npz"
