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
import os
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.random.bit_generator import ISeedSequence

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ansatz.core.initializer import Initializer, Spec

BLOCK = 1 << 16
"""How many elements one generator draws. Part of the definition of every draw: never change it."""

_THREADING_PAYS_FROM = 1 << 18
_ALIGNMENT = 64  # XLA's CPU client adopts a host buffer without a copy if it is aligned so.


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


def draw(jobs: Sequence[Job]) -> list[NDArray[Any]]:
    """Draw the values of several parameters, on all cores where it pays.

    Returns:
        One C-contiguous array per job, with the shape and dtype of its spec.
    """
    arrays: list[NDArray[Any]] = []
    blocks: list[tuple[Initializer, Spec, int, int, NDArray[Any]]] = []
    for job in jobs:
        initializer = job.initializer.bind(job.spec)
        if not initializer.blockwise:
            arrays.append(initializer.draw(generator(job.seed, job.spec.path), job.spec))
            continue
        array = _empty(job.spec.shape, _drawn_dtype(job.spec.dtype))
        arrays.append(array)
        flat = array.reshape(-1)
        blocks.extend(
            (initializer, job.spec, job.seed, start // BLOCK, flat[start : start + BLOCK])
            for start in range(0, flat.size, BLOCK)
        )
    if sum(block[-1].size for block in blocks) < _THREADING_PAYS_FROM:
        for block in blocks:
            _fill(*block)
    else:
        with ThreadPoolExecutor(_available_cores()) as pool:
            list(pool.map(lambda block: _fill(*block), blocks))
    return [
        array if array.dtype == job.spec.dtype else array.astype(job.spec.dtype)
        for array, job in zip(arrays, jobs, strict=True)
    ]


def _fill(initializer: Initializer, spec: Spec, seed: int, block: int, out: NDArray[Any]) -> None:
    initializer.fill(generator(seed, spec.path, block), out)


def _drawn_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Low precision is drawn in float32 and rounded once, so that it does not coarsen the draw."""
    if dtype.itemsize < 4 and np.issubdtype(np.result_type(dtype, np.float16), np.floating):
        return np.dtype(np.float32)
    return dtype


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % _ALIGNMENT
    return raw[offset : offset + size].view(dtype).reshape(shape)


def _available_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


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
    seeds.reset(int(root))
