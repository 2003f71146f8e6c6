"""Randomness on the host: draws that depend on (seed, path, block) and on nothing else.

An *initialisation event* has a seed. The values of a parameter are a function of that seed, of the
parameter's path, and of the initialiser; large parameters are drawn in blocks of `BLOCK` elements,
each with a generator of its own. So adding, removing or widening other layers changes nothing, any
number of threads gives the same bits, and a shard may draw its blocks alone.

The generator is SFC64 (Chris Doty-Humphrey, PractRand), whose state is filled with the BLAKE2b hash
of (seed, path, block): any block can be drawn alone, as with a counter-based generator, and both
starting one and drawing from it cost less than with Philox.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import operator
import secrets
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from ansatz.core import processors
from ansatz.core.errors import InitializationError, format_shape, format_value

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ansatz.core.initializer import Initializer, Spec

BLOCK = 1 << 18
"""How many elements one generator draws. Part of the definition of every draw: never change it.

A block takes half a millisecond and a megabyte: long enough that threads do not wait for each
other, short enough that its working arrays stay in the cache.
"""

_THREADING_PAYS_FROM = 1 << 18
_ALIGNMENT = 64  # XLA's CPU client adopts a host buffer without a copy if it is aligned so.
# NumPy asks for huge pages from this size on. Where memory is fragmented, the kernel then first
# moves other pages out of the way, which took three times as long as drawing the numbers.
_MAPPED_FROM = 1 << 22
_PRIVATE = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
_ARENA = 1 << 24  # Parameters share memory up to this size, which is freed when all are replaced.


class _HashedSeed(ISeedSequence):
    """Hands a bit generator the words of a hash as its initial state."""

    def __init__(self, *parts: object) -> None:
        text = "\0".join(str(part) for part in parts)
        self._digest = hashlib.blake2b(text.encode(), digest_size=64).digest()

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[Any]:
        words = np.frombuffer(self._digest, np.dtype(dtype))
        if n_words > words.size:
            raise ValueError(f"a hash of 64 bytes holds no {n_words} words of {np.dtype(dtype)}")
        return words[:n_words]


def generator(seed: int, path: str, block: int = 0) -> np.random.Generator:
    """The generator of one block of one parameter.

    Args:
        seed: the seed of the initialisation event.
        path: the parameter's canonical path.
        block: which run of `BLOCK` elements, in C order.
    """
    state: Any = _HashedSeed(seed, path, block)  # The stubs do not know ISeedSequence here.
    return np.random.Generator(np.random.SFC64(state))


class Job(NamedTuple):
    """One parameter to draw."""

    initializer: Initializer
    spec: Spec
    seed: int


class _Block(NamedTuple):
    """A run of `BLOCK` elements of one parameter, and where they go."""

    initializer: Initializer
    job: Job
    number: int
    out: NDArray[Any]


def draw(jobs: Sequence[Job]) -> list[NDArray[Any]]:
    """Draw the values of several parameters, on all cores where it pays.

    Returns:
        One new C-contiguous array per job, which nobody else holds.

    Raises:
        InitializationError: an initialiser gave an array that does not fit.
    """
    bound = [_bound(job) for job in jobs]
    in_blocks = [
        job.spec for job, initializer in zip(jobs, bound, strict=True) if initializer.blockwise
    ]
    empty = iter(_allocate([(spec.shape, spec.dtype) for spec in in_blocks]))
    arrays: list[NDArray[Any]] = []
    blocks: deque[_Block] = deque()
    for job, initializer in zip(jobs, bound, strict=True):
        if not initializer.blockwise:
            arrays.append(_fitting(_drawn_whole(initializer, job), job))
            continue
        arrays.append(next(empty))
        flat = arrays[-1].reshape(-1)
        blocks.extend(
            _Block(initializer, job, start // BLOCK, flat[start : start + BLOCK])
            for start in range(0, flat.size, BLOCK)
        )
    helpers = min(processors.available(), len(blocks)) - 1
    if helpers < 1 or sum(block.out.size for block in blocks) < _THREADING_PAYS_FROM:
        _fill_all(blocks)
        return arrays
    # The threads take blocks from one queue; a task per block would cost more than it does.
    with ThreadPoolExecutor(helpers) as pool:
        running = [pool.submit(_fill_all, blocks) for _ in range(helpers)]
        try:
            _fill_all(blocks)
        finally:
            blocks.clear()
        for helper in running:
            helper.result()
    return arrays


def _bound(job: Job) -> Initializer:
    initializer = job.initializer
    while (bound := initializer.bind(job.spec)) is not initializer:
        initializer = bound
    return initializer


def _drawn_whole(initializer: Initializer, job: Job) -> NDArray[Any]:
    """A copy: the array may be kept by the initialiser, and buffers of values are given away."""
    try:
        values = np.asarray(initializer.draw(generator(job.seed, job.spec.path), job.spec))
    except Exception as error:
        error.add_note(_occasion(job))
        raise
    (array,) = _allocate([(values.shape, values.dtype)])
    array[...] = values
    return array


def _fitting(array: NDArray[Any], job: Job) -> NDArray[Any]:
    spec = job.spec
    if array.shape != spec.shape:
        raise InitializationError(
            f"the initialiser {job.initializer!r} gave an array of shape "
            f"{format_shape(array.shape)} for {spec.name}, whose shape is "
            f"{format_shape(spec.shape)}; nothing was changed"
        )
    if array.dtype != spec.dtype:
        if not np.can_cast(array.dtype, spec.dtype, "same_kind"):
            raise InitializationError(
                f"the initialiser {job.initializer!r} gave {array.dtype} for "
                f"{spec.name}, whose dtype is {spec.dtype}; nothing was changed"
            )
        array = array.astype(spec.dtype)
    return array


def _fill_all(blocks: deque[_Block]) -> None:
    """Fill blocks until none is left."""
    while True:
        try:
            initializer, job, number, out = blocks.popleft()
        except IndexError:
            return
        try:
            initializer.fill(generator(job.seed, job.spec.path, number), out)
        except Exception as error:
            blocks.clear()
            error.add_note(_occasion(job))
            raise


def _occasion(job: Job) -> str:
    return f"while {job.initializer!r} drew the first value of {job.spec.name}"


def _allocate(wanted: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> list[NDArray[Any]]:
    """Arrays of these shapes and dtypes, aligned, and neighbours in memory where they are small."""
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in wanted]
    padded = [size + -size % _ALIGNMENT for size in sizes]
    arrays: list[NDArray[Any]] = []
    raw, used = np.empty(0, np.uint8), 0
    for index, (shape, dtype) in enumerate(wanted):
        if used + padded[index] > raw.size:
            raw, used = _aligned(_arena_size(padded[index:])), 0
        arrays.append(raw[used : used + sizes[index]].view(dtype).reshape(shape))
        used += padded[index]
    return arrays


def _arena_size(padded: Sequence[int]) -> int:
    """The size of the first array, and of those behind it that fit in with it."""
    total = 0
    for size in padded:
        if total and total + size > _ARENA:
            break
        total += size
    return total


def _aligned(size: int) -> NDArray[np.uint8]:
    if size >= _MAPPED_FROM:
        return np.frombuffer(mmap.mmap(-1, size, **_PRIVATE), np.uint8)
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % _ALIGNMENT
    return raw[offset : offset + size]


class SeedStream:
    """The seeds of initialisation events that were given none of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset(secrets.randbits(63))

    def reset(self, root: int) -> None:
        """Start over from `root`."""
        with self._lock:
            self._root, self._count = root, 0

    def next(self) -> int:
        """The next seed: 63 bits, a function of the root and of how many came before."""
        with self._lock:
            text = f"{self._root}\0{self._count}"
            self._count += 1
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1


seeds = SeedStream()


def as_seed(given: Any) -> int:
    """A seed as it was given, if it is one.

    Raises:
        TypeError: it is not a whole number; a fraction would be cut, and two seeds be one.
    """
    try:
        return operator.index(given)
    except TypeError:
        raise TypeError(
            f"a seed is a whole number, such as 0, got {format_value(given)}"
            + ("; keys of JAX are not needed" if hasattr(given, "dtype") else "")
        ) from None


def seed(root: int) -> None:
    """Make all later initialisation events reproducible.

    Without a call, each process starts from entropy of the operating system. Networks and random
    streams that already have their values keep them.

    Args:
        root: any integer.

    Example:
        >>> import ansatz as az
        >>> from ansatz import nn
        >>> az.seed(0)
        >>> a = nn.Linear(2, 3).weight.value
        >>> az.seed(0)
        >>> bool((a == nn.Linear(2, 3).weight.value).all())
        True
    """
    seeds.reset(as_seed(root))
