"""The page that shows a file: what stands in it, and that nothing in it can run."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ansatz as az
from ansatz import cli, nn
from ansatz.checkpoint import formats, save_arrays
from ansatz.inspect.page import page_of

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028.weight"


def opened(path: Path, arrays: dict[str, Any]) -> Any:
    save_arrays(path, arrays)
    return formats.open_file(path)


def data_of(page: str) -> Any:
    (held,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    return json.loads(held)


def tensors_of(page: str) -> dict[str, Any]:
    return {tensor["name"]: tensor for tensor in data_of(page)["tensors"]}


def test_each_array_stands_in_the_page_with_its_numbers(tmp_path: Path) -> None:
    odd = np.array([[1.0, np.nan], [0, np.inf], [0, 3]], "f4")
    page = page_of(opened(tmp_path / "a.npz", {"w": odd, "none": np.zeros((0, 2)), "i": [7, 7]}))
    side = tensors_of(page)["w"]["sides"][0]
    assert (side["shape"], side["dtype"], side["nbytes"]) == ([3, 2], "float32", 24)
    assert (side["mean"], side["min"], side["max"]) == (1, 0, 3)
    assert (side["zeros"], side["nans"], side["infs"]) == (2, 1, 1)
    assert sum(side["picture"]["bins"]) == 4
    assert tensors_of(page)["none"]["sides"][0]["picture"] is None
    assert tensors_of(page)["i"]["sides"][0]["faults"] == ["constant"]


def test_two_files_say_what_is_changed_added_removed_and_renamed(tmp_path: Path) -> None:
    w, moved = np.array([3.0, 4.0]), np.arange(5.0)
    a = opened(tmp_path / "a.npz", {"same": w, "w": w, "old": moved, "gone": np.ones(2)})
    b = opened(tmp_path / "b.npz", {"same": w, "w": 2 * w, "new": moved, "come": np.eye(2)})
    found = tensors_of(page_of(a, b))
    told = {name: tensor["status"] for name, tensor in found.items()}
    assert told == {
        "same": "same", "w": "changed", "old": "renamed", "new": "renamed",
        "gone": "removed", "come": "added",
    }  # fmt: skip
    assert found["old"]["other"] == "new"
    assert found["w"]["change"] == {"what": "", "largest": 4, "relative": 1, "cosine": 1}


def test_names_cannot_leave_the_data_nor_paths_the_title(tmp_path: Path) -> None:
    page = page_of(opened(tmp_path / "<b>&.npz", {HOSTILE: np.ones(2)}))
    assert HOSTILE in tensors_of(page)
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert "\u2028" not in page
    assert "<b>" not in page


def test_nothing_is_fetched(tmp_path: Path) -> None:
    page = page_of(opened(tmp_path / "a.npz", {"w": np.ones(2)}))
    assert "default-src &#x27;none&#x27;" in page
    assert not re.search(r"https?:|//[a-z]+\.|\b(src|href)=|fetch\(|innerHTML", page)


def test_the_command_line_writes_the_page_and_never_over_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_arrays("a.npz", {"w": np.ones(2)})
    before = Path("a.npz").read_bytes()
    for words, status in ((["a.npz"], 0), (["a.npz", "a.npz", "-o", "two.html"], 0),
                          (["a.npz", "-o", "a.npz"], 2)):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            cli.main(["view", *words])
        assert ended.value.code == status
    assert list(tensors_of(Path("a.npz.html").read_text("utf-8"))) == ["w"]
    assert Path("two.html").exists()
    assert Path("a.npz").read_bytes() == before


def test_a_tied_name_stands_with_its_module(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    az.tie(net, "1.weight", "0.weight")
    net.save(tmp_path / "net.safetensors")
    page = page_of(formats.open_file(tmp_path / "net.safetensors").with_aliases())
    owners = [name.partition(".")[0] for name in tensors_of(page)]
    assert owners == ["0", "0", "1", "1"]
