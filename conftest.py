"""How pytest finds and runs the examples in docstrings, in docs/ and in every README."""

import os
from collections.abc import Iterator
from contextlib import chdir
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem
from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

# JAX reads this when it is first imported, which is after this file.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The first example of a property compiles: how long it takes says nothing.
settings.register_profile("ansatz", deadline=None)
settings.load_profile("ansatz")

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=ELLIPSIS | NORMALIZE_WHITESPACE)],
    pattern="*.md",
    fixtures=["empty_directory"],
).pytest()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keep --doctest-modules from importing the helpers and scripts that lie among the tests."""
    if collection_path.suffix != ".py" or collection_path.name.startswith("test_"):
        return None
    # None, not False: it leaves the decision to pytest's own rules.
    return collection_path.is_relative_to(config.rootpath / "tests") or None


@pytest.fixture(scope="module")
def empty_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the examples of one page or module save their files, and find them again."""
    with chdir(tmp_path_factory.mktemp("examples")):
        yield


@pytest.fixture(autouse=True)
def _doctests_run_in_an_empty_directory(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, DoctestItem):
        request.getfixturevalue("empty_directory")


@pytest.fixture(autouse=True)
def _same_draws_on_each_run() -> None:
    import ansatz  # Not before JAX_PLATFORMS is set.

    ansatz.seed(0)
