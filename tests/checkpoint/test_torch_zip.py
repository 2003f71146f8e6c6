"""Files of PyTorch: read value for value, with their ties, and without running what is in them."""

import contextlib
import json
import pickle
import shutil
import struct
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import load_arrays
from ansatz.checkpoint.formats import open_file
from ansatz.checkpoint.ties import Alias
from tests.formats.hostile_torch import archive_of, composed, tensor_pickle

FORMATS = Path(__file__).parent.parent / "formats"
NAMES = ["torch_state_dict", "torch_views", "torch_dtypes", "torch_checkpoint", "torch_protocol_4"]
FUZZED = [*NAMES, "torch_composed"]


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_what_pytorch_says_it_is(name: str) -> None:
    contents = open_file(FORMATS / f"{name}.pt")
    expected = load_arrays(FORMATS / f"{name}.expected.safetensors")
    assert set(contents.entries) == set(expected)
    for key, value in expected.items():
        found = contents.read(key)
        if found.dtype == np.complex128:  # Safetensors has none; stored as pairs.
            value = value.view(np.complex128)[..., 0]
        assert (found.dtype, found.shape) == (value.dtype, value.shape), key
        assert found.tobytes() == value.tobytes(), key
        assert found.flags.c_contiguous
        assert found.flags.writeable


def test_quantised_and_sparse_tensors_are_what_pytorch_makes_of_them() -> None:
    contents = open_file(FORMATS / "torch_composed.pt")
    expected = load_arrays(FORMATS / "torch_composed.expected.safetensors")
    assert set(contents.entries) == set(expected)
    for key, value in expected.items():
        found = contents.read(key)
        assert (found.dtype, found.shape) == (value.dtype, value.shape), key
        # PyTorch multiplies and adds in one rounding where the processor can.
        wide = found.astype("f8"), value.astype("f8")
        np.testing.assert_allclose(*wide, rtol=2e-7, atol=1e-8, err_msg=key)
    assert contents.entries["channels"].held == "quantised"
    assert contents.entries["csr"].held == "sparse"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch_meta", r"'layer\.weight' in .* is a meta tensor, which has no values"),
        ("torch_blocks", r"'layer\.weight' in .* layout torch.sparse_bsr; save it as .*to_dense"),
    ],
)
def test_tensors_that_are_not_read_are_named_with_the_next_step(name: str, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        load_arrays(FORMATS / f"{name}.pt")


def test_a_scale_too_large_for_float32_spoils_its_own_tensor_only(tmp_path: Path) -> None:
    path = tmp_path / "huge.pt"
    dict(composed(tmp_path))["torch-scale-huge.pt"](path)
    contents = open_file(path)  # Whose other tensors could be read.
    with pytest.raises(az.CheckpointError, match=r"'w' in .* its scale is too large for float32"):
        contents.read("w")


def test_shared_storages_are_ties_also_transposed_ones() -> None:
    assert open_file(FORMATS / "torch_views.pt").ties == {
        "whole": (Alias("transposed", transposed=True), Alias("same_again"))
    }
    assert open_file(FORMATS / "torch_checkpoint.pt").ties == {
        "model.module.0.weight": (Alias("model.module.1.weight"),)
    }


def test_numbers_and_text_of_a_checkpoint_are_metadata_and_the_rest_is_noted() -> None:
    contents = open_file(FORMATS / "torch_checkpoint.pt")
    told = {key: json.loads(value) for key, value in contents.metadata.items()}
    assert (told["epoch"], told["arguments.name"]) == (7, "größe")
    assert told["optimizer.param_groups.0.lr"] == 0.125
    assert "'dtype' (torch.bfloat16)" in contents.notes[0]


def test_a_network_of_pytorch_is_loaded_from_its_own_file() -> None:
    net = nn.Sequential(nn.Identity(), nn.BatchNorm(3), nn.Identity(), nn.Dense(4))
    report = net.load(FORMATS / "torch_state_dict.pt", rename={"0.weight": None, "0.bias": None})
    assert "3.weight" in report.paths("settled")
    expected = load_arrays(FORMATS / "torch_state_dict.expected.safetensors")
    np.testing.assert_array_equal(net[3].weight.value, expected["3.weight"])
    # PyTorch counts in 64 bits, which JAX does not have: the count fits, so it is taken.
    assert int(net[1].num_batches_tracked.value) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch_legacy.pth", "of a version before 1.6; save it anew"),
        ("torch_module.pt", r"names 'torch.nn.modules.linear.Linear'.*state_dict\(\)"),
    ],
)
def test_files_of_pytorch_that_are_not_read_come_with_advice(name: str, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        load_arrays(FORMATS / name)


def test_a_single_tensor_is_a_single_array(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.pt", tensor_pickle("FloatStorage", 2, 0, (2,), (1,), bare=True))
    assert load_arrays(path).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("storage", "body", "expected"),
    [
        ("FloatStorage", struct.pack(">2f", 1.5, -2), [1.5, -2]),
        ("LongStorage", struct.pack(">2q", 1, -2), [1, -2]),
        ("BFloat16Storage", b"\x3f\xc0\xc0\x00", [1.5, -2]),
        ("BoolStorage", b"\x01\x00", [1, 0]),
    ],
)
def test_a_file_of_a_big_endian_machine_is_read(
    tmp_path: Path, storage: str, body: bytes, expected: list[float]
) -> None:
    described = tensor_pickle(storage, 2, 0, (2,), (1,))
    path = archive_of(tmp_path / "a.pt", described, {"data/0": body, "byteorder": b"big"})
    assert load_arrays(path)["w"].astype(float).tolist() == expected


def test_a_file_that_changed_since_is_not_read(tmp_path: Path) -> None:
    shutil.copy(FORMATS / "torch_views.pt", tmp_path / "a.pt")
    contents = open_file(tmp_path / "a.pt")
    with open(tmp_path / "a.pt", "ab") as file:
        file.write(b"x")
    for name in ("whole", "column"):
        with pytest.raises(az.CheckpointError, match="has changed"):
            contents.read(name)


# -- what is refused ------------------------------------------------------------------------------


class Evil:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_code_in_a_pickle_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "victim"
    evil = pickle.dumps({"w": Evil(Path.touch, victim)}, protocol=protocol)
    with pytest.raises(az.CheckpointError, match="could run code; nothing was run"):
        load_arrays(archive_of(tmp_path / "a.pt", evil))
    evil = pickle.dumps({"w": Evil(exec, f"open({str(victim)!r}, 'w')")}, protocol=protocol)
    with pytest.raises(az.CheckpointError, match=r"'(__builtin__|builtins).exec'"):
        load_arrays(archive_of(tmp_path / "a.pt", evil))
    assert not victim.exists()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (3,), (1,)),
        (1, (2,), (1,)),
        (0, (2, 2), (1, 1)),
        (0, (1,), (2**70,)),
        (2, (1,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, (2**64 + 1,), (1,)),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (0, (1,) * 33, (1,) * 33),
        (3, (0,), (1,)),
        (0, (0, 2**62), (1, 1)),
    ],
)
def test_a_view_that_leaves_its_storage_is_refused(
    tmp_path: Path, offset: Any, shape: Any, strides: Any
) -> None:
    if shape in ((1,),) and strides == (2**70,):
        shape = (2,)
    described = tensor_pickle("FloatStorage", 2, offset, shape, strides)
    with pytest.raises(az.CheckpointError, match=r"a\.pt"):
        load_arrays(archive_of(tmp_path / "a.pt", described))


def test_a_tensor_that_repeats_one_number_to_fill_the_memory_is_refused(tmp_path: Path) -> None:
    described = tensor_pickle("FloatStorage", 2, 0, (2**30, 2**20), (0, 0))
    with pytest.raises(az.CheckpointError, match="would take 4,503,599,627,370,496 bytes"):
        load_arrays(archive_of(tmp_path / "a.pt", described))


def test_two_values_under_one_name_are_refused(tmp_path: Path) -> None:
    raw = pickle.dumps(OrderedDict([("a.b", 1), ("a", {"b": 2})]), protocol=2)
    with pytest.raises(az.CheckpointError, match=r"both called 'a\.b'"):
        load_arrays(archive_of(tmp_path / "a.pt", raw))


def test_a_truth_value_that_is_none_is_refused(tmp_path: Path) -> None:
    described = tensor_pickle("BoolStorage", 2, 0, (2,), (1,))
    with pytest.raises(az.CheckpointError, match="neither 0 nor 1"):
        load_arrays(archive_of(tmp_path / "a.pt", described, {"data/0": b"\x02\x00"}))


def test_a_program_of_torchscript_is_explained(tmp_path: Path) -> None:
    described = tensor_pickle("FloatStorage", 2, 0, (2,), (1,))
    path = archive_of(tmp_path / "a.pt", described, {"code/__torch__.py": b"def f(): pass"})
    with pytest.raises(az.CheckpointError, match="a program of TorchScript"):
        load_arrays(path)


@given(data=st.data())
@settings(max_examples=60)
def test_a_mutated_file_is_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.pt"
    with zipfile.ZipFile(FORMATS / f"{data.draw(st.sampled_from(FUZZED))}.pt") as whole:
        members = {info.filename: whole.read(info) for info in whole.infolist()}
    for _ in range(data.draw(st.integers(1, 3))):
        chosen = data.draw(st.sampled_from([name for name in members if name.endswith("pkl")]))
        raw = bytearray(members[chosen])
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        members[chosen] = bytes(raw)
    with zipfile.ZipFile(path, "w") as mutated:
        for name, content in members.items():
            mutated.writestr(name, content)
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    with contextlib.suppress(az.CheckpointError):
        load_arrays(path)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_values_of_numpy_and_python_that_are_no_tensors_are_left_out_and_listed(
    tmp_path: Path, protocol: int
) -> None:
    held = {
        "random": np.random.RandomState(0).get_state(),
        "objects": np.array([Path()], dtype=object),
        "losses": defaultdict(list, {"train": [1.5]}),
        "nested": defaultdict(dict),
        "count": Counter("ab"),
        "best": np.float64(0.5),
        "root": 1 + 2j,
    }
    raw = pickle.dumps(held, protocol=protocol)
    contents = open_file(archive_of(tmp_path / "a.pt", raw))
    assert dict(contents.entries) == {}
    assert contents.metadata["losses.train.0"] == "1.5"
    (note,) = contents.notes
    for name in ("'random.1' (numpy.ndarray)", "'objects'", "'count'", "'best'", "'root'"):
        assert name in note
