"""MXNet's files: what MXNet wrote is read value for value, and every flaw is refused."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import load_arrays, save_arrays
from ansatz.checkpoint.formats import open_file

FORMATS = Path(__file__).parent.parent / "formats"
MADE = ["mxnet1_dtypes", "mxnet1_sparse", "mxnet1_net", "mxnet1_export", "mxnet1_v3", "mxnet2_net"]

# The file of the section "Worked example" in the description of the format, byte for byte.
WORKED = bytes.fromhex(
    "1201000000000000 0000000000000000 0200000000000000"
    "c9fa93f9 00000000 02000000 0200000000000000 0300000000000000"
    "0100000000000000 00000000 0000803f0000004000004040000080bf0000003f00000000"
    "c9fa93f9 00000000 01000000 0200000000000000 0100000000000000 00000000 000000000000803f"
    "0200000000000000 0800000000000000 302e776569676874 0600000000000000 302e62696173"
)
ROWS = (
    "c9fa93f9 01000000 02000000 0100000000000000 0200000000000000"
    "02000000 0300000000000000 0200000000000000 0100000000000000 01000000"
    "06000000 01000000 0100000000000000 000000000000f03f 0000000000000040 {row}"
)
CSR = (
    "c9fa93f9 02000000 01000000 0300000000000000 02000000 0300000000000000 0400000000000000"
    "0100000000000000 00000000 06000000 01000000 0400000000000000"
    "06000000 01000000 0300000000000000 0000803f 00000040 00004040"
    "{starts} 0100000000000000 0000000000000000 0200000000000000"
)
STARTS = "0000000000000000 0100000000000000 0100000000000000 0300000000000000"
# Each is 2**63 or more above the one before, or below it: their differences wrap around in 64 bits.
WRAPPED = "0000000000000000 ffffffffffffff7f feffffffffffffff 0300000000000000"
ROWS_WRAPPED = (
    "c9fa93f9 01000000 02000000 0300000000000000 0100000000000000"
    "02000000 0300000000000000 0100000000000000 01000000 00000000 00000000"
    "06000000 01000000 0300000000000000 0000803f 00000040 00004040"
    "0000000000000000 0100000000000080 0200000000000000"
)


def one(record: str | bytes, name: bytes = b"x", count: int = 1) -> bytes:
    """A file of one record."""
    raw = record if isinstance(record, bytes) else bytes.fromhex(record)
    told = struct.pack("<QQ", 1, len(name)) + name
    return struct.pack("<QQQ", 0x112, 0, count) + raw + told


def v2(shape: tuple[int, ...], flag: int, body: bytes, version: int = 0xF993FAC9) -> bytes:
    dims = struct.pack(f"<i{len(shape)}q", len(shape), *shape)
    return struct.pack("<Ii", version, 0) + dims + struct.pack("<iii", 2, 3, flag) + body


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("name", MADE)
def test_what_mxnet_wrote_is_read_value_for_value(name: str) -> None:
    found = load_arrays(FORMATS / f"{name}.params")
    with np.load(FORMATS / f"{name}.expected.npz") as expected:
        for key in expected.files:
            if key in ("input", "output"):
                continue
            plain = key.removeprefix("_") if name == "mxnet1_dtypes" else key
            plain = plain.removeprefix("arg:").removeprefix("aux:")
            assert found[plain].dtype == expected[key].dtype, key
            np.testing.assert_array_equal(found[plain], expected[key])


def test_the_list_format_of_mxnet_2_is_read_also_bfloat16() -> None:
    found = load_arrays(FORMATS / "mxnet2_list.params")
    assert found["w"].dtype == jnp.bfloat16
    with np.load(FORMATS / "mxnet2_list.expected.npz") as expected:
        for key in expected.files:
            assert found[key].astype(expected[key].dtype).tolist() == expected[key].tolist()
    assert load_arrays(FORMATS / "mxnet2_one.params").tolist() == [0, 1, 2]


def test_a_list_without_names_is_numbered() -> None:
    assert [a.tolist() for a in load_arrays(FORMATS / "mxnet1_list.params").values()] == [
        [1, 1],
        [[0, 0]],
    ]


def test_the_worked_example_is_read_and_written_byte_for_byte(tmp_path: Path) -> None:
    held = {
        "0.weight": np.array([[1, 2, 3], [-1, 0.5, 0]], "float32"),
        "0.bias": np.array([0, 1], "float32"),
    }
    loaded = load_arrays(written(tmp_path / "a.params", WORKED))
    assert all(np.array_equal(loaded[key], held[key]) for key in held)
    save_arrays(tmp_path / "b.params", held)
    assert (tmp_path / "b.params").read_bytes() == WORKED


def test_sparse_records_are_dense_values(tmp_path: Path) -> None:
    rows = one(ROWS.format(row="0100000000000000"))
    assert load_arrays(written(tmp_path / "a", rows))["x"].tolist() == [[0, 0], [1, 2], [0, 0]]
    csr = one(CSR.format(starts=STARTS))
    assert load_arrays(written(tmp_path / "b", csr))["x"].tolist() == [
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [2, 0, 3, 0],
    ]
    assert open_file(tmp_path / "b").entries["x"].held == "csr"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("01000000 01000000 0100000000000000 00000000 0000e040", [7]),
        ("c8fa93f9 01000000 0100000000000000 0200000003000000 00000000 0000e040", [7]),
        ("cafa93f9 00000000 00000000 0100000000000000 00000000 00006040", 3.5),
        (v2((0, 3), 0, b"", 0xF993FACA), []),
    ],
)
def test_every_version_of_the_record_is_read(tmp_path: Path, record: Any, expected: Any) -> None:
    assert load_arrays(written(tmp_path / "a", one(record)))["x"].tolist() == expected


def test_a_network_goes_to_gluon_and_back(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2))
    az.tie(net, "0.weight", "1.weight")
    net.save(tmp_path / "net.params")
    assert set(load_arrays(tmp_path / "net.params")) == {
        *("0.weight", "0.bias", "1.weight", "1.bias")
    }
    assert not nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)).load(tmp_path / "net.params").faults


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("x", np.array(1.0), "which means no value in MXNet"),
        ("x", np.zeros((0, 2)), "which means no value in MXNet"),
        ("x", np.zeros(2, "complex64"), "dtype complex64"),
        ("x", np.zeros(2, "int16"), "dtype int16"),
        ("a\0b", np.zeros(2), "a name with NUL"),
    ],
)
def test_what_mxnet_cannot_load_is_not_written(
    tmp_path: Path, name: str, array: Any, message: str
) -> None:
    with pytest.raises(az.CheckpointError, match=message):
        save_arrays(tmp_path / "a.params", {name: array})
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    for raw in (WORKED, one(CSR.format(starts=STARTS))):
        for length in range(8, len(raw)):
            with pytest.raises(az.CheckpointError, match=r"cut\.params', byte \d+"):
                load_arrays(written(tmp_path / "cut.params", raw[:length]))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (WORKED + b"x", "1 bytes follow after the last name"),
        (WORKED.replace(b"0.bias", b"0.\xff\xff\xff\xff"), "no valid UTF-8"),
        (one(v2((2,), 99, bytes(8))), "unknown dtype 99"),
        (one(v2((2,), -1, bytes(8))), "unknown dtype -1"),
        (one(v2((-1,), 0, b"")), "no array can have"),
        (one(v2((2**40, 2**40), 0, b"")), "no array can have"),
        (one(v2((2**40,), 0, b"")), "should take 4398046511104 bytes"),
        (one(v2((1,) * 33, 0, bytes(4))), "33 dimensions"),
        (one(v2((), 0, b"")), "empty of content"),
        (one("cafa93f9 00000000 ffffffff"), "empty of content"),
        (one("c9fa93f9 00000000 ffffffff"), "-1 dimensions"),
        (one("c9fa93f9 07000000" + "00" * 20), "unknown storage 7"),
        (one("00000000" + "00" * 20), "unknown version 0x0"),
        (one("ffffff7f" + "00" * 20), "unknown version 0x7fffffff"),
        (one(v2((1,), 0, bytes(4)), count=2**64 - 1), "18446744073709551615 arrays"),
        (one(v2((1,), 0, bytes(4)), count=2), "unknown|cut off"),
        (one(v2((2,), 7, b"\x01\x02")), "neither 0 nor 1"),
        (one(v2((1,), 0, bytes(4)), name=b"a\0"), "has a NUL"),
        (one(ROWS.format(row="0300000000000000")), "do not rise within its shape"),
        (one(ROWS.format(row="ffffffffffffffff")), "do not rise within its shape"),
        (one(CSR.format(starts=STARTS.replace("01", "03", 1))), "one after the other within"),
        (one(CSR.format(starts=WRAPPED)), "one after the other within"),
        (one(CSR.format(starts=STARTS)[:-16] + "04" + "00" * 7), "do not lie within"),
        (one(ROWS_WRAPPED), "do not rise within its shape"),
        (
            one(ROWS.format(row="01" + "00" * 7).replace("0300000000000000", "0" * 10 + "100000")),
            "would take",
        ),
    ],
)
def test_a_damaged_or_hostile_file_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(az.CheckpointError, match=message) as caught:
        load_arrays(written(tmp_path / "bad.params", raw))
    assert "bad.params" in str(caught.value) or "array 0" in str(caught.value)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    raw = WORKED.replace(b"0.weight", b"00.bias_").replace(b"0.bias", b"0.bias")
    twice = raw.replace(struct.pack("<Q", 8) + b"00.bias_", struct.pack("<Q", 6) + b"0.bias")
    with pytest.raises(az.CheckpointError, match=r"'0\.bias' occurs twice"):
        load_arrays(written(tmp_path / "a", twice))


@given(data=st.data())
@settings(max_examples=80)
def test_a_mutated_file_is_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.params"
    raw = bytearray((FORMATS / f"{data.draw(st.sampled_from(MADE[:5]))}.params").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(8, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(az.CheckpointError):
        load_arrays(written(path, bytes(raw)))
