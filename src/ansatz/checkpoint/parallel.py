"""Doing the same to many arrays, on as many threads as help.

Most of the time of a load is spent in the system: it clears fresh memory, and copies bytes into it.
One thread of a processor can do that only so fast. Results come in the order of the items however
the threads run, and so does the first error. However slowly they are taken, only a few of them wait
in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ansatz.core import processors

_MAX_THREADS = 4  # Memory is no faster with more, and each may hold one array besides its result.
_AHEAD = 2  # Items for each thread that are begun before their results are asked for.
_WORTH_IT = 1 << 24  # Bytes; reading fewer takes no longer than starting threads.

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Sequence[_Item], nbytes: int
) -> Iterator[_Result]:
    """The results of `function` for all items, in their order.

    Args:
        function: called once for each item, perhaps in other threads.
        items: what it is called with.
        nbytes: how many bytes it will handle for all of them together; 0 where several threads
            gain nothing.

    Raises:
        Exception: what `function` raised for the first item for which it did. No call is under way
            any more then, and those that had not begun are not made.

    Example:
        >>> from ansatz.checkpoint.parallel import in_order
        >>> list(in_order(abs, [-1, -2], nbytes=0))
        [1, 2]
    """
    threads = min(_MAX_THREADS, processors.available(), len(items))
    if threads < 2 or nbytes < _WORTH_IT:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="ansatz-read") as pool:
        left = iter(items)
        ahead = deque(pool.submit(function, item) for item in islice(left, _AHEAD * threads))
        try:
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(function, item) for item in islice(left, 1))
        finally:
            for waiting in ahead:  # It was left early, or something failed.
                waiting.cancel()
