"""The pages in docs/: all are found from the index, and nothing public is left out."""

import re
from pathlib import Path

import pytest

from ansatz import init, nn

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def links_of(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    return {(page.parent / target).resolve() for target in targets if "://" not in target}


def test_every_page_is_linked_from_the_index():
    index = DOCS / "README.md"
    assert {page for page in PAGES if page != index} <= links_of(index)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page):
    assert [target for target in links_of(page) if not target.exists()] == []


@pytest.mark.parametrize("module", [nn, init])
def test_every_public_name_is_on_some_page(module):
    # A layer for two dimensions stands for those for one and three.
    words = set(re.findall(r"\w+", "\n".join(page.read_text(encoding="utf-8") for page in PAGES)))
    families = {re.sub(r"[123]([Dd])$", r"\1", word) for word in words}
    missing = [
        name
        for name in module.__all__
        if name not in words and re.sub(r"[123]([Dd])$", r"\1", name) not in families
    ]
    assert missing == []
