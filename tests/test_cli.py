"""The command line: what it prints, and its exit status."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ansatz as az
from ansatz import cli
from ansatz.checkpoint import load_arrays, save_arrays

FORMATS = Path(__file__).parent / "formats"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: Any) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    return call


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    held = {
        "w": np.array([[1.0, 2], [0, 0], [0, 0]]),
        "again": np.array([[1.0, 2], [0, 0], [0, 0]]),
        "[bold]nan": np.array([np.nan, np.inf, 1, 0]),
        "zero": np.zeros(4, "float16"),
        "same": np.full(3, 7),
    }
    save_arrays(tmp_path / "odd.npz", held)
    return tmp_path / "odd.npz"


def test_inspect_tells_what_is_odd(run: Any, odd: Path) -> None:
    status, text = run("inspect", odd)
    assert status == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert "(3, 2) float64 6 48 0.5 0.7638 0 2 2 of 3 rows zero" in lines["w"]
    assert "equal to w" in lines["again"]
    assert "1 NaN; 1 infinite" in lines["[bold]nan"]
    assert "all zero" in lines["zero"]
    assert "constant" in lines["same"]
    assert "5 arrays, 23 numbers, 160 bytes, npz, 5 with remarks" in lines["total"]


def test_inspect_sorts_selects_and_speaks_json(run: Any, odd: Path) -> None:
    status, text = run("inspect", odd, "--json", "--sort", "size", "--select", "*e*")
    held = json.loads(text)["arrays"]
    assert status == 0
    assert [row["name"] for row in held] == ["zero", "same"]
    assert held[1]["mean"] == 7
    status, text = run("inspect", odd, "--no-values", "--json")
    assert "mean" not in json.loads(text)["arrays"][0]


def test_inspect_shows_ties(run: Any) -> None:
    _, text = run("inspect", FORMATS / "torch_checkpoint.pt")
    assert "tied to model.module.1.weight" in text
    assert "left out, being no tensors: 'dtype'" in text


def test_diff_says_the_same_with_its_exit_status(run: Any, odd: Path, tmp_path: Path) -> None:
    held = load_arrays(odd)
    save_arrays(tmp_path / "b.safetensors", held)
    assert run("diff", odd, tmp_path / "b.safetensors")[0] == 0
    held["w"][0, 0] = 4
    held["moved"] = held.pop("same")
    held["new"] = held.pop("zero").astype("float32")
    save_arrays(tmp_path / "b.safetensors", held)
    status, text = run("diff", odd, tmp_path / "b.safetensors")
    assert status == 1
    assert "same → moved" in text
    # |(4, 2) - (1, 2)| / |(1, 2)|, and the cosine of the angle between them
    assert (
        " ".join(next(x for x in text.splitlines() if "changed w" in " ".join(x.split())).split())
        == "changed w 3 1.342 0.8"
    )
    assert "2 same, 1 changed, 1 renamed, 1 added, 1 removed" in text


def test_diff_knows_that_a_tie_is_a_name_too(run: Any, tmp_path: Path) -> None:
    source, target = FORMATS / "torch_views.pt", tmp_path / "a.safetensors"
    assert run("convert", source, target)[0] == 0
    assert "transposed" not in load_arrays(target)
    status, text = run("diff", source, target)
    assert (status, text.strip()) == (0, "11 same, 0 changed, 0 renamed, 0 added, 0 removed")


def test_convert_writes_and_says_what_it_lost(run: Any, tmp_path: Path) -> None:
    source, target = FORMATS / "torch_checkpoint.pt", tmp_path / "a.params"
    words = ("convert", source, target, "--select", "model.*", "--strip", "model.module.")
    status, text = run(*words)
    assert status == 2
    assert "has no place for metadata" in text
    assert "--lossy" in text
    assert not target.exists()
    status, text = run(*words, "--lossy", "--rename", "*.weight=*.w", "--rename", "1.w=")
    assert status == 0
    assert list(load_arrays(target)) == ["0.w"]


def test_verify_answers_with_its_exit_status(run: Any, odd: Path, tmp_path: Path) -> None:
    status, text = run("verify", odd)
    assert status == 0
    assert "'[bold]nan' holds 1 NaN and 1 infinite among 4 values" in text
    assert "is sound: npz, 5 arrays, 160 bytes" in text
    raw = bytearray(odd.read_bytes())
    raw[raw.index(b"\x93NUMPY") + 130] ^= 1
    (tmp_path / "bad.npz").write_bytes(raw)
    status, text = run("verify", tmp_path / "bad.npz")
    assert status == 1
    assert "does not have the checksum" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect", "absent.npz"], "No such file"),
        (["convert", "a", "b", "--rename", "x"], "--rename takes OLD=NEW"),
        (["inspect", FORMATS / "make_torch.py"], "is of no format that can be read"),
        (["inspect", FORMATS / "torch_view.pt"], "did you mean 'torch_views.pt'"),
        (["inspect", "no/such/folder.npz"], "there is no folder 'no/such' either"),
        (["diff", FORMATS, FORMATS], "give the path of a file itself (in "),
        (["inspect", FORMATS / "torch_views.pt", "--select", "wholes"], "did you mean 'whole'"),
        (
            ["convert", FORMATS / "torch_views.pt", "x.npz", "--cast", "float31"],
            "it is one of bfloat16, float8_e3m4",
        ),
    ],
)
def test_a_mistake_is_explained_without_a_trace(run: Any, words: Any, message: str) -> None:
    status, text = run(*words)
    assert status == 2
    assert message in text
    assert "Traceback" not in text


def test_the_module_is_a_program_too(odd: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ansatz.cli", "verify", odd], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "odd.npz is sound" in ended.stdout


def test_an_empty_file_is_called_empty(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").touch()
    status, text = run("verify", tmp_path / "a.safetensors")
    assert status == 1
    assert "is empty (0 bytes). Copy or download it again" in text


@pytest.mark.parametrize(
    "words",
    [
        ("verify",),
        ("diff", 1),
        ("convert", "c.npz"),
        ("convert", "c.safetensors", "--rename", "w="),
        ("convert", "c.safetensors", "--select", "w", "--rename", "w=heavy"),
        ("inspect",),
    ],
)
def test_a_progress_bar_ends_at_its_end(
    run: Any, odd: Path, monkeypatch: pytest.MonkeyPatch, words: Any
) -> None:
    totals: list[tuple[float, float | None]] = []

    class Seen(cli.Progress):
        def stop(self) -> None:
            totals.extend((task.completed, task.total) for task in self.tasks)
            super().stop()

    monkeypatch.setattr(cli, "_LARGE", 1)
    monkeypatch.setattr(cli, "Progress", Seen)
    console = cli.Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(cli, "_err", lambda: console)
    other = odd.with_name("other.npz")
    save_arrays(other, {"w": np.ones((3, 2)), "moved": np.full(3, 7), "new": np.ones(9)})
    command, *more = words
    made = {1: other} | {word: odd.with_name(word) for word in ("c.npz", "c.safetensors")}
    extra = [made.get(word, word) for word in more]
    run(command, odd, *extra)
    ((completed, total),) = set(totals)
    assert completed == total


def test_the_module_is_the_command_and_tells_its_version() -> None:
    words = [sys.executable, "-m", "ansatz", "--version"]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"ansatz {az.__version__}"


def test_names_in_a_file_cannot_steer_the_terminal(run: Any, tmp_path: Path) -> None:
    evil = "a\x1b[2J\r\nb\x07"
    save_arrays(tmp_path / "a.safetensors", {evil: np.array([np.nan]), "x" * 5000: np.ones(2)})
    save_arrays(tmp_path / "b.safetensors", {evil: np.ones(1)})
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for words in (
        ("inspect", a),
        ("inspect", a, "--select", evil + "?"),
        ("diff", a, b),
        ("verify", a),
        ("convert", a, tmp_path / "c.params", "--rename", f"{evil}=x", "--rename", "none=y"),
    ):
        _, text = run(*words)
        assert not {"\x1b", "\r", "\x07"} & set(text), words
    _, text = run("inspect", a)
    assert r"a\x1b[2J\r\nb\x07" in text
    assert len(text) < 2000
