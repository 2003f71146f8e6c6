"""How pytest finds and runs the examples in docstrings, in docs/ and in every README."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem
from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

# JAX reads these when it is first imported, which is after this file. The workers inherit them, and
# so do the programs that tests start.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The tests spend their time compiling small programs that run once, so LLVM optimises less.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
QUICKLY = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"].lower() in ("1", "true", "yes", "on")
# What is compiled as for users: the numbers of other frameworks, and programs that run for long.
OPTIMIZED = ("tests/parity", "tests/examples")

# Many tests compile the same program. It is kept until the end of the run, never for the next.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="ansatz-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

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


def pytest_configure(config: pytest.Config) -> None:
    # Workers share what they compile. A program that another is still writing is compiled again.
    told = "Error (reading|writing) persistent compilation cache entry"
    config.addinivalue_line("filterwarnings", f"ignore:{told}")


def pytest_collection_finish() -> None:
    # What was imported stays until the end: the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    import jax  # Not before the variables are set.

    optimized = any(item.path.is_relative_to(item.config.rootpath / name) for name in OPTIMIZED)
    quickly = QUICKLY and not optimized
    if quickly != jax.config.read("jax_disable_most_optimizations"):
        jax.config.update("jax_disable_most_optimizations", quickly)
        jax.clear_caches()  # JAX would use again what was compiled in the other way.


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
