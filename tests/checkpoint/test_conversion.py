"""From any format to any: nothing is lost silently, and a failure leaves the old file."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import Rule, convert, load_arrays, open_file, safetensors, save_arrays
from ansatz.checkpoint.conversion import prepare
from ansatz.checkpoint.dtypes import EXTENSIONS, NUMPY, exact_stand_in
from ansatz.checkpoint.formats import FORMATS as FORMAT_ROWS
from ansatz.checkpoint.ties import Alias, encode

FORMATS = Path(__file__).parent.parent / "formats"
HELD = {
    "bf16": np.arange(6).astype(jnp.bfloat16).reshape(2, 3),
    "float8": np.arange(4).astype(jnp.float8_e4m3fn),
    "complex": np.array([1 + 2j, -1j], "complex64"),
    "truth": np.array([True, False]),
    "counter": np.array([-(2**40)]),
}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes()
        for k in a
    )


def test_every_dtype_survives_there_and_back(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.safetensors", HELD)
    convert(tmp_path / "a.safetensors", tmp_path / "b.npz")
    convert(tmp_path / "b.npz", tmp_path / "c.safetensors")
    assert same(load_arrays(tmp_path / "c.safetensors"), HELD)


def test_what_a_format_cannot_hold_stops_it_and_is_named(tmp_path: Path) -> None:
    held = {name: HELD[name] for name in ("bf16", "float8", "counter")}
    save_arrays(tmp_path / "a.safetensors", held)
    save_arrays(tmp_path / "b.params", {"old": np.ones(1)})
    with pytest.raises(az.CheckpointError, match=r"'float8' is float8_e4m3fn: it becomes") as e:
        convert(tmp_path / "a.safetensors", tmp_path / "b.params")
    assert "bf16" not in str(e.value)  # MXNet has it.
    assert list(load_arrays(tmp_path / "b.params")) == ["old"]
    done = convert(tmp_path / "a.safetensors", tmp_path / "b.params", lossy=True)
    assert len(done.losses) == 1
    loaded = load_arrays(tmp_path / "b.params")
    assert loaded["bf16"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(loaded["float8"], HELD["float8"].astype(loaded["float8"].dtype))
    save_arrays(tmp_path / "a.safetensors", HELD)
    with pytest.raises(az.CheckpointError, match=r"can hold neither complex64 \('complex'\)"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.params", lossy=True)


@pytest.mark.parametrize("name", [*NUMPY, *EXTENSIONS])
def test_a_stand_in_holds_every_value(name: str) -> None:
    dtype = NUMPY.get(name) or EXTENSIONS[name]
    stand_in = exact_stand_in(dtype, frozenset(NUMPY.values()))
    if stand_in is None:
        assert name in ("bool", "int64", "uint64", "float64", "complex128")
        return
    if dtype.itemsize > 2:
        return
    whole = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}")
    whole = whole & 15 if name.endswith("int4") else whole
    every = whole.view(dtype)
    with np.errstate(invalid="ignore"):  # Some of them are NaN.
        back = every.astype(stand_in).astype(dtype)
        finite = every == every
    np.testing.assert_array_equal(back[finite], every[finite])


def test_ties_and_metadata_pass_from_pytorch_on(tmp_path: Path) -> None:
    convert(
        FORMATS / "torch_checkpoint.pt",
        tmp_path / "a.safetensors",
        select="model.*",
        rename=Rule("model.module.*", "*"),
    )
    contents = open_file(tmp_path / "a.safetensors")
    assert list(contents.entries) == ["0.weight"]
    assert contents.ties["0.weight"][0].name == "1.weight"
    assert contents.metadata["epoch"] == "7"
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    assert net.load(tmp_path / "a.safetensors").missing_keys == []
    convert(tmp_path / "a.safetensors", tmp_path / "b.npz", aliases=True)
    assert list(load_arrays(tmp_path / "b.npz")) == ["0.weight", "1.weight"]


def test_a_tie_that_a_format_cannot_tell_is_written_as_copies(tmp_path: Path) -> None:
    with pytest.raises(az.CheckpointError, match="mxnet cannot tell ties"):
        convert(FORMATS / "torch_views.pt", tmp_path / "a.params", select="w*")
    convert(FORMATS / "torch_views.pt", tmp_path / "a.params", lossy=True)
    loaded = load_arrays(tmp_path / "a.params")
    np.testing.assert_array_equal(loaded["transposed"], loaded["whole"].T)


def tied_file(path: Path) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False))
    az.tie(net, "0.weight", "1.weight", transpose=True)
    net.save(path)
    return net


def test_a_name_that_a_file_only_tells_is_written_where_it_cannot_be_told(tmp_path: Path) -> None:
    net = tied_file(tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "b.params", lossy=True)
    loaded = load_arrays(tmp_path / "b.params")
    np.testing.assert_array_equal(loaded["1.weight"], net[1].weight.value)
    convert(tmp_path / "a.safetensors", tmp_path / "c.npz", select="1.*")
    assert list(load_arrays(tmp_path / "c.npz")) == ["1.weight"]  # The name that was picked.
    fresh = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False))
    fresh.load(tmp_path / "c.npz")
    np.testing.assert_array_equal(fresh[1].weight.value, net[1].weight.value)


def test_a_selection_is_over_the_names_in_the_source(tmp_path: Path) -> None:
    one, two = np.ones(2), np.zeros(2)
    save_arrays(tmp_path / "a.npz", {"old.w": one, "w": two})
    for rename in ({"old.w": "new.w"}, {"w": None}):
        with pytest.raises(az.CheckpointError, match=r"'new\.\*' picks none of the 2 arrays"):
            convert(tmp_path / "a.npz", tmp_path / "b.npz", select="new.*", rename=rename)
        # What a renaming says of the others is not asked for, but is no mistake.
        convert(tmp_path / "a.npz", tmp_path / "b.npz", select="old.*", rename=rename)
        assert len(load_arrays(tmp_path / "b.npz")) == 1


@pytest.mark.parametrize("source", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("target", ["b.npz", "b.params"])
def test_a_tied_array_is_stored_under_the_name_that_was_picked(
    tmp_path: Path, source: str, target: str
) -> None:
    net = tied_file(tmp_path / "a.safetensors")
    path = FORMATS / "torch_views.pt" if source == "a.pt" else tmp_path / source
    name = "transposed" if source == "a.pt" else "1.weight"
    value = load_arrays(path)["whole"].T if source == "a.pt" else net[1].weight.value
    convert(path, tmp_path / target, select=name, lossy=True, rename={name: "x"})
    loaded = load_arrays(tmp_path / target)
    assert list(loaded) == ["x"]
    np.testing.assert_array_equal(loaded["x"], value)


def test_a_file_of_its_own_source_is_not_replaced(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    save_arrays(tmp_path / "one.safetensors", {"a": np.ones(2)})
    save_arrays(tmp_path / "two.safetensors", {"b": np.ones(2)})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "two.safetensors")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for target in ("one.safetensors", "link.safetensors"):
        with pytest.raises(az.CheckpointError, match=r"one of the files that .* is read from"):
            convert(tmp_path, tmp_path / target)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # A file that is the whole source may be.
    convert(tmp_path / "one.safetensors", tmp_path / "one.safetensors", rename={"a": "c"})
    assert list(load_arrays(tmp_path / "one.safetensors")) == ["c"]


def test_no_file_is_put_into_the_folder_that_is_read(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.orbax", {"w": np.ones(2)})
    with pytest.raises(az.CheckpointError, match="one of the files"):
        convert(tmp_path / "a.orbax", tmp_path / "a.orbax" / "_METADATA")
    assert list(load_arrays(tmp_path / "a.orbax")) == ["w"]


def test_names_that_are_said_to_be_tied_but_differ_are_both_written(tmp_path: Path) -> None:
    told = encode({"a": (Alias("b"), Alias("c"))}, {"a", "b", "c"})
    held = {"a": np.ones(2), "b": np.zeros(2), "c": np.ones(2)}
    safetensors.write(tmp_path / "a.safetensors", held, told)
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    contents = open_file(tmp_path / "b.safetensors")
    assert set(contents.entries) == {"a", "b"}
    assert contents.ties == {"a": (Alias("c"),)}
    assert contents.read("b").tolist() == [0, 0]


def test_a_cast_is_made_only_of_floating_numbers_and_never_overflows(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"w": np.array([1.5, -2]), "n": np.array([1, 2])})
    convert(tmp_path / "a.npz", tmp_path / "b.npz", cast="bfloat16")
    loaded = load_arrays(tmp_path / "b.npz")
    assert (loaded["w"].dtype, loaded["n"].dtype) == (jnp.bfloat16, np.dtype("int64"))
    save_arrays(tmp_path / "a.npz", {"w": np.array([1e300])})
    with pytest.raises(az.CheckpointError, match="1 of 1 values are too large for float16"):
        convert(tmp_path / "a.npz", tmp_path / "b.npz", cast="float16")
    assert load_arrays(tmp_path / "b.npz")["n"].tolist() == [1, 2]


def test_a_cast_to_integers_is_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"w": np.array([1.5])})
    with pytest.raises(az.CheckpointError, match="cast='int8' is no dtype of floating numbers"):
        convert(tmp_path / "a.npz", tmp_path / "b.npz", cast="int8")


def test_a_file_can_be_converted_into_its_own_place(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"w": np.ones(3)})
    convert(tmp_path / "a.npz", tmp_path / "a.npz", rename={"w": "v"})
    assert list(load_arrays(tmp_path / "a.npz")) == ["v"]


def test_an_array_is_held_in_memory_only_while_it_is_written(tmp_path: Path) -> None:
    many = {f"w{i}": np.zeros(1 << 17) for i in range(16)}  # 16 MiB in all
    save_arrays(tmp_path / "a.safetensors", many)
    del many
    tracemalloc.start()
    convert(tmp_path / "a.safetensors", tmp_path / "b.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


WRITE_FOR_EVER = """
import sys
import numpy as np
from ansatz.checkpoint import convert, save_arrays
folder, ending = sys.argv[1:]
save_arrays(f"{folder}/one.npz", {"w": np.zeros(200_000)})
save_arrays(f"{folder}/two.npz", {"w": np.ones(200_000)})
print("ready", flush=True)
while True:
    convert(f"{folder}/one.npz", f"{folder}/out{ending}")
    convert(f"{folder}/two.npz", f"{folder}/out{ending}")
"""


def test_a_process_that_is_killed_while_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    # A cheap form of tests/formats/kill_writers.py, which kills hundreds.
    ending = ".safetensors"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path), ending],
        stdout=subprocess.PIPE,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        assert writer.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 60
        while not (tmp_path / f"out{ending}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
    found = load_arrays(tmp_path / f"out{ending}")["w"]
    assert found.shape == (200_000,)
    assert found.min() == found.max()


def test_what_gluon_does_not_have_is_left_out_of_its_files_and_said(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm(2), nn.Dropout(0.1))
    net.save(tmp_path / "net.safetensors")
    scale = {"scale": np.array(2.5, "float32"), "empty": np.ones((0, 3), "float32")}
    save_arrays(tmp_path / "a.npz", {**load_arrays(tmp_path / "net.safetensors"), **scale})
    with pytest.raises(az.CheckpointError) as caught:
        convert(tmp_path / "a.npz", tmp_path / "a.params")
    assert "'1.num_batches_tracked' has shape (), that Gluon does not have" in str(caught.value)
    assert "'2.stream' is a random stream, as Gluon has none" in str(caught.value)
    assert "(on the command line --lossy)" in str(caught.value)
    assert not (tmp_path / "a.params").exists()
    done = convert(tmp_path / "a.npz", tmp_path / "a.params", lossy=True)
    assert len(done.losses) == 4
    loaded = load_arrays(tmp_path / "a.params")
    assert loaded["scale"].tolist() == [2.5]
    assert not {"1.num_batches_tracked", "2.stream", "empty"} & loaded.keys()
    fresh = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm(2), nn.Dropout(0.1))
    report = fresh.load(tmp_path / "a.params", select=lambda path, cell: True)
    assert report.paths("optional") == ["1.num_batches_tracked", "2.stream"]


def test_a_network_says_how_to_save_it_for_mxnet(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Dropout(0.1), nn.BatchNorm(2))
    with pytest.raises(az.CheckpointError, match="select=lambda path, cell") as caught:
        net.save(tmp_path / "a.params")
    select = eval(str(caught.value).partition("select=")[2].removesuffix(")"))
    net.save(tmp_path / "a.params", select=select)
    names = ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
    assert list(load_arrays(tmp_path / "a.params")) == names


@pytest.mark.parametrize("target", ["b.safetensors", "b.npz", "b.params"])
def test_progress_counts_what_is_written_and_what_is_compared(tmp_path: Path, target: str) -> None:
    save_arrays(tmp_path / "a.npz", {"w": np.ones(30, "float32"), "left": np.ones(5, "float32")})
    told: list[int] = []
    convert(tmp_path / "a.npz", tmp_path / target, select="w", progress=lambda _, n: told.append(n))
    assert sum(told) == 2 * 120


def test_progress_counts_what_a_format_leaves_out(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"w": np.ones(3), "num_batches_tracked": np.array(7)})
    told: list[int] = []
    files = tmp_path / "a.npz", tmp_path / "a.params"
    convert(*files, lossy=True, progress=lambda _, n: told.append(n))
    assert sum(told) == prepare(*files).nbytes == 2 * (24 + 8)


def test_a_file_that_would_not_read_back_as_it_was_meant_does_not_replace_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(path: str, arrays: Any, metadata: Any, *, verify: Any = None) -> None:
        renamed = {f"{name}_" if name == "b" else name: each for name, each in arrays.items()}
        safetensors.write(path, renamed, metadata, verify=verify)

    row = dataclasses.replace(FORMAT_ROWS["safetensors"], write=forgetful)
    monkeypatch.setattr("ansatz.checkpoint.conversion.format_for", lambda path: row)
    save_arrays(tmp_path / "a.npz", {"a": np.ones(2), "b": np.ones(3, "float32")})
    message = r"'b' is not there, meant was float32\[3\]; 'b_' is float32\[3\], meant was none"
    (tmp_path / "b.safetensors").write_bytes(b"the old file")
    with pytest.raises(az.CheckpointError, match=message):
        convert(tmp_path / "a.npz", tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == b"the old file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.safetensors"]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".params", ".h5", ".msgpack", ".orbax"])
def test_every_format_is_read_back_where_it_was_written_before_it_takes_its_name(
    tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"new{suffix}"
    seen = []

    def verify(place: str) -> None:
        seen.append(load_arrays(place))
        assert not target.exists()
        raise az.CheckpointError("not as it was meant")

    row = next(row for row in FORMAT_ROWS.values() if suffix in row.suffixes)
    with pytest.raises(az.CheckpointError, match="not as it was meant"):
        row.save(str(target), {"layers.dense.0": np.ones((2, 3), "float32")}, {}, verify=verify)
    assert seen[0]["layers.dense.0"].shape == (2, 3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "names", "reason"),
    [
        (".npy", ("a", "b"), r"holds one array, not 2; use \.npz, or pick one: select='name'"),
        (".msgpack", ("a", "a.b"), "'a.b' goes on where another name ends"),
        (".h5", ("a",), "'a' is no such name; give such names by rename="),
    ],
)
def test_what_lossy_would_not_help_with_is_said_first(
    tmp_path: Path, suffix: str, names: tuple[str, ...], reason: str
) -> None:
    arrays = {name: np.ones(2, "float32") for name in names}
    safetensors.write(tmp_path / "a.safetensors", arrays, {"made": "by hand"})
    with pytest.raises(az.CheckpointError, match=reason):
        convert(tmp_path / "a.safetensors", tmp_path / f"b{suffix}")


def test_one_array_becomes_a_npy_file_where_losing_its_name_is_allowed(tmp_path: Path) -> None:
    files = tmp_path / "a.npz", tmp_path / "a.npy"
    save_arrays(files[0], {"w": np.arange(3.0), "b": np.ones(1)})
    with pytest.raises(az.CheckpointError, match=r"lossy=True .*\n  npy has no .* 'w' is read as"):
        convert(*files, select="w")
    done = convert(*files, select="w", lossy=True)
    assert done.losses == ("npy has no place for names: 'w' is read as '0'",)
    assert np.load(files[1]).tolist() == [0, 1, 2]
