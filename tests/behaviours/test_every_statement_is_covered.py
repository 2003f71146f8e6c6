"""Every numbered statement has a test that carries its number, or a line in OPEN.md."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COUNTS = {"G-000": 36, "G-001": 22, "P-002": 29, "P-003": 27, "P-004": 31, "E": 24}
GROUPS = "|".join(COUNTS)
IN_A_NAME = re.compile(rf"(?<![A-Z0-9])({GROUPS.replace('-', '_')})_(\d+)(?!\d)")
IN_OPEN = re.compile(rf"^- \*\*({GROUPS})-(\d+)\*\*", re.MULTILINE)
IN_TEXT = re.compile(rf"({GROUPS})-(\d+)")

Statement = tuple[str, int]


def numbers(pattern: re.Pattern[str], text: str) -> set[Statement]:
    return {(group.replace("_", "-"), int(number)) for group, number in pattern.findall(text)}


def with_tests() -> dict[Statement, list[str]]:
    """Which tests carry which number."""
    found: dict[Statement, list[str]] = {}
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for statement in numbers(IN_A_NAME, node.name):
                    found.setdefault(statement, []).append(f"{file.name}::{node.name}")
    return found


def open_section(title: str) -> str:
    page = (HERE / "OPEN.md").read_text(encoding="utf-8")
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def left_open() -> set[Statement]:
    return numbers(IN_OPEN, open_section("Without a test"))


@pytest.mark.parametrize("group", COUNTS)
def test_every_statement_has_a_test_or_a_reason(group: str) -> None:
    covered = with_tests().keys() | left_open()
    missing = [n for n in range(1, COUNTS[group] + 1) if (group, n) not in covered]
    assert not missing, f"{group}: neither a test nor a line in OPEN.md for {missing}"


def test_no_number_is_made_up() -> None:
    unknown = {
        f"{group}-{number}"
        for group, number in with_tests().keys() | left_open()
        if not 1 <= number <= COUNTS[group]
    }
    assert not unknown


def test_what_is_spelled_otherwise_is_tested_in_substance() -> None:
    listed = numbers(IN_TEXT, open_section("Tested in substance, spelled otherwise"))
    assert listed
    assert listed <= with_tests().keys()


def test_every_test_restates_its_statement() -> None:
    silent = [
        f"{file.name}::{node.name}"
        for file in sorted(HERE.glob("test_*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and numbers(IN_A_NAME, node.name)
        and not ast.get_docstring(node)
    ]
    assert not silent
