"""Reading on several threads: the same results and errors as on one."""

import threading
import time

import numpy as np
import pytest

from ansatz import nn
from ansatz.checkpoint import load_arrays, parallel, save_arrays
from ansatz.core.errors import CheckpointError

LARGE = 1 << 30


@pytest.fixture(autouse=True)
def _four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.processors, "available", lambda: 4)


def test_results_come_in_the_order_of_the_items_whoever_is_ready_first() -> None:
    def slow_first(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(parallel.in_order(slow_first, range(9), LARGE)) == [i * i for i in range(9)]


def test_large_items_are_spread_over_threads() -> None:
    meet = threading.Barrier(4, timeout=30)  # Passed only if four are at work at once.
    names = parallel.in_order(lambda _: (meet.wait(), threading.get_ident())[1], range(4), LARGE)
    assert len(set(names)) == 4


@pytest.mark.parametrize(("items", "nbytes"), [(9, 1000), (1, LARGE), (0, LARGE)])
def test_little_work_is_done_in_this_thread(items: int, nbytes: int) -> None:
    threads = parallel.in_order(lambda _: threading.get_ident(), range(items), nbytes)
    assert set(threads) <= {threading.get_ident()}


def test_the_error_is_that_of_the_first_item_and_the_rest_is_not_begun() -> None:
    begun = []

    def fails(i: int) -> None:
        begun.append(i)
        time.sleep(0.02)
        raise ValueError(str(i))

    with pytest.raises(ValueError, match=r"^0$"):
        list(parallel.in_order(fails, range(1000), LARGE))
    assert len(begun) < 100
    assert not [t for t in threading.enumerate() if t.name.startswith("ansatz-read")]


def test_only_a_few_results_wait_for_one_who_takes_them_slowly() -> None:
    begun: list[int] = []
    results = parallel.in_order(lambda i: (begun.append(i), i)[1], range(1000), LARGE)
    for taken in range(3):
        assert next(results) == taken
        time.sleep(0.05)  # Time enough for threads that are not held back to do everything.
        assert len(begun) <= taken + 2 * 4
    results.close()
    assert len(begun) <= 12
    assert not [t for t in threading.enumerate() if t.name.startswith("ansatz-read")]


def test_a_file_is_read_on_threads_as_on_one(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_WORTH_IT", 1)
    draw = np.random.default_rng(0)
    arrays = {f"{i}.weight": draw.random((3, 2), "float32") for i in range(20)}
    arrays["7.weight"][1, 1] = np.nan
    path = tmp_path / "net.safetensors"
    save_arrays(path, arrays)
    read = load_arrays(path)
    assert list(read) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(read[name], value)

    net = nn.Sequential(*(nn.Dense(3, use_bias=False) for _ in range(20)))
    report = net.load(path)
    for name, value in arrays.items():
        np.testing.assert_array_equal(net.state_dict()[name], value)
    (told,) = (row for row in report if "NaN" in row.note)
    assert told.path == "7.weight"


def test_a_file_that_is_cut_meanwhile_changes_nothing(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_WORTH_IT", 1)
    path = tmp_path / "net.safetensors"
    save_arrays(path, {f"{i}.weight": np.ones((3, 2), "float32") for i in range(20)})
    net = nn.Sequential(*(nn.Dense(3, in_units=2, use_bias=False) for _ in range(20)))
    plan = net.plan_load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="has changed since it was opened"):
        plan.commit()
    assert not any((np.asarray(value) == 1).all() for value in net.state_dict().values())
