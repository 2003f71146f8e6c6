"""The page in a real browser: search, sort, open a tensor, keyboard, dark and light."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.checkpoint import formats, save_arrays
from ansatz.inspect.page import page_of
from tests.inspect.browse import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium")

HOSTILE = "</script><img src=x onerror=alert(1)>.weight"
NAMES = "[...document.querySelectorAll('.row .name')].map(e => e.textContent)"
DETAIL = "document.querySelector('aside:not([hidden]) h2')?.textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


def write(folder: Path, *files: dict[str, object]) -> Path:
    opened = []
    for index, arrays in enumerate(files):
        save_arrays(folder / f"{index}.npz", arrays)
        opened.append(formats.open_file(folder / f"{index}.npz"))
    (folder / "page.html").write_text(page_of(*opened), "utf-8")
    return folder / "page.html"


def test_search_sort_keyboard_and_schemes(browser: Browser, tmp_path: Path) -> None:
    arrays = {"enc.10.w": np.eye(4), "enc.9.w": 3 * np.ones((2, 2)), HOSTILE: np.ones(3)}
    browser.open(write(tmp_path, arrays))
    assert browser.run(NAMES) == list(arrays)
    # Sorting: by the mouse, numbers in names as numbers, and again the other way round.
    browser.click("#head [role=columnheader] button")
    assert browser.run(NAMES) == [HOSTILE, "enc.9.w", "enc.10.w"]
    browser.click("#head [role=columnheader] button")
    assert browser.run(NAMES) == ["enc.10.w", "enc.9.w", HOSTILE]
    # By the keyboard alone: search, go to the table, open, move on, close.
    browser.press("/", "e", "n", "c")
    assert browser.run(NAMES) == ["enc.10.w", "enc.9.w"]
    browser.press("ArrowDown", "End", "Enter")
    assert browser.run(DETAIL) == "enc.9.w"
    browser.press("ArrowUp")
    assert browser.run(DETAIL) == "enc.10.w"
    assert browser.run("document.querySelectorAll('aside canvas').length") == 2
    browser.press("Escape")
    assert browser.run(DETAIL) is None
    assert browser.run("document.activeElement.id") == "table"
    colours = []
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]
    assert browser.run("document.images.length") == 0
    assert browser.requests == [(tmp_path / "page.html").as_uri()]
    assert browser.errors == []


def test_two_files_stand_side_by_side(browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path, {"a": np.ones(3), "b": np.eye(2)}, {"a": np.ones(3), "b": np.ones(2)})
    browser.open(page)
    browser.click("#differing")
    assert browser.run(NAMES) == ["b"]
    browser.click(".row")
    assert browser.run("document.querySelectorAll('aside section').length") == 2
    assert browser.errors == []


def test_of_five_thousand_tensors_only_those_in_sight_are_drawn(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(write(tmp_path, {f"m.{i}.w": np.full(2, i) for i in range(5000)}))
    assert browser.run("document.querySelectorAll('.row').length") < 100
    browser.run("table.focus()")
    browser.press("End", "Enter")
    assert browser.run(DETAIL) == "m.4999.w"
    assert browser.run("document.querySelectorAll('.row').length") < 100
    browser.press("/", "4", "2", "1")
    assert all("421" in name for name in browser.run(NAMES))
    assert browser.errors == []


def test_ties_are_lines_between_rows_and_lead_from_one_to_the_other(
    browser: Browser, tmp_path: Path
) -> None:
    net = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(300)))
    for path in ("3.weight", "299.weight"):
        az.tie(net, "1.weight", path)
    net.save(tmp_path / "net.safetensors")
    page = tmp_path / "page.html"
    page.write_text(
        page_of(formats.open_file(tmp_path / "net.safetensors").with_aliases()), "utf-8"
    )
    browser.open(page)
    browser.click("#head [role=columnheader] button")  # Lines follow the order of the rows.
    assert browser.run("lines.map((line) => [line.from, line.to])") == [[1, 3], [3, 299]]
    ends = "[...drawing.children].map((path) => path.getBoundingClientRect().height)"
    assert browser.run(ends)[0] == 2 * browser.run("ROW")
    browser.scheme("dark")
    assert browser.run("getComputedStyle(drawing.firstChild).stroke") == "rgb(240, 150, 90)"
    # Both names stand in the row; a click goes to the other.
    assert "⇄ 3.weight" in browser.run(NAMES)[1]
    browser.click("#row-1 .tie")
    assert browser.run(DETAIL) == "3.weight"
    # By the keyboard around the ring, into a row that was not drawn; and back along the line.
    browser.press("t")
    assert browser.run(DETAIL) == "299.weight"
    browser.press("t")
    assert browser.run(DETAIL) == "1.weight"
    browser.run("drawing.firstChild.dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert browser.run(DETAIL) == "3.weight"
    browser.run("search.value = '299'; filter()")
    assert browser.run("document.querySelector('#ties')") is None
    assert browser.errors == []
