"""The block formats of GGUF: how so many quantised numbers and their scales stand in memory.

A block is described as a record of NumPy; what its fields mean is a formula over whole arrays of
blocks. Numbers are small integers `q` times a scale `d`, with an offset or a minimum in some.

Source: the layouts of the structures `block_q4_0` to `block_q6_K` of GGML, and checked value for
value against the `gguf` library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF, _BYTE, _SIGNED = "<f2", "u1", "i1"


class Blocks(NamedTuple):
    """A block format.

    Attributes:
        name: its name.
        size: how many numbers are in a block.
        record: how a block stands in memory.
        numbers: the numbers of some blocks, float32 of shape `(blocks, size)`.
    """

    name: str
    size: int
    record: np.dtype[Any]
    numbers: Callable[[NDArray[Any]], NDArray[Any]]


def _of(blocks: NDArray[Any], field: str) -> NDArray[np.uint8]:
    part: NDArray[np.uint8] = blocks[field]
    return part


def _scale(field: NDArray[Any]) -> NDArray[np.float32]:
    """Half-precision scales, one a block, ready to be multiplied with rows."""
    return field.astype(np.float32)[:, None]


def _nibbles(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The lower halves of all bytes, then the upper ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _fifth_bits(bits: NDArray[np.uint8], axis: int = -1) -> NDArray[np.uint8]:
    """Bit i of the 32, shifted to stand above four others."""
    return np.unpackbits(bits, axis=axis, bitorder="little") << np.uint8(4)


def _q4_0(b: NDArray[Any]) -> NDArray[np.float32]:
    return _scale(_of(b, "d")) * (_nibbles(_of(b, "q")).astype(np.float32) - 8)


def _q4_1(b: NDArray[Any]) -> NDArray[np.float32]:
    return _scale(_of(b, "d")) * _nibbles(_of(b, "q")).astype(np.float32) + _scale(_of(b, "m"))


def _q5_0(b: NDArray[Any]) -> NDArray[np.float32]:
    q = _nibbles(_of(b, "q")) | _fifth_bits(_of(b, "h"))
    return _scale(_of(b, "d")) * (q.astype(np.float32) - 16)


def _q5_1(b: NDArray[Any]) -> NDArray[np.float32]:
    q = _nibbles(_of(b, "q")) | _fifth_bits(_of(b, "h"))
    return _scale(_of(b, "d")) * q.astype(np.float32) + _scale(_of(b, "m"))


def _q8_0(b: NDArray[Any]) -> NDArray[np.float32]:
    return _scale(_of(b, "d")) * _of(b, "q").astype(np.float32)


def _scales_and_minima(packed: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Eight scales and eight minima of six bits each, from twelve bytes.

    The first four of each have the lower six bits of bytes 0-3 and 4-7. The last four have the
    halves of bytes 8-11, and above them the upper two bits of bytes 0-3 and 4-7.
    """
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = [first & 63, (third & 15) | (first >> 6 << 4)]
    minima = [second & 63, (third >> 4) | (second >> 6 << 4)]
    return np.concatenate(scales, axis=1), np.concatenate(minima, axis=1)


def _with_minima(b: NDArray[Any], q: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Numbers `q` of shape (blocks, 8, 32), with a scale and a minimum for each 32."""
    scales, minima = _scales_and_minima(_of(b, "s"))
    d = _scale(_of(b, "d")) * scales.astype(np.float32)
    m = _scale(_of(b, "m")) * minima.astype(np.float32)
    numbers: NDArray[np.float32] = d[..., None] * q.astype(np.float32) - m[..., None]
    return numbers.reshape(len(b), 256)


def _q4_k(b: NDArray[Any]) -> NDArray[np.float32]:
    q = _nibbles(_of(b, "q").reshape(len(b), 4, 32)).reshape(len(b), 8, 32)
    return _with_minima(b, q)


def _q5_k(b: NDArray[Any]) -> NDArray[np.float32]:
    q = _nibbles(_of(b, "q").reshape(len(b), 4, 32)).reshape(len(b), 8, 32)
    # Bit j of byte i is the fifth bit of number i of the j-th 32.
    fifth = _fifth_bits(_of(b, "h")[:, None, :], axis=1)
    return _with_minima(b, q | fifth)


def _q6_k(b: NDArray[Any]) -> NDArray[np.float32]:
    # Of each half of the block: 64 bytes with four bits of two numbers, 32 with two bits of four.
    low = _nibbles(_of(b, "l").reshape(len(b), 2, 64)).reshape(len(b), 2, 4, 32)
    high = _of(b, "h").reshape(len(b), 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    q = (low | (high & 3) << 4).astype(np.float32) - 32
    d = _scale(_of(b, "d")) * _of(b, "s").astype(np.float32)
    return (d[..., None] * q.reshape(len(b), 16, 16)).reshape(len(b), 256)


def _blocks(
    name: str, size: int, numbers: Callable[[NDArray[Any]], NDArray[Any]], *fields: Any
) -> Blocks:
    return Blocks(name, size, np.dtype(list(fields)), numbers)


_D, _M = ("d", _HALF), ("m", _HALF)
_K = (_D, _M, ("s", _BYTE, 12))
FORMATS: dict[int, Blocks] = {
    2: _blocks("Q4_0", 32, _q4_0, _D, ("q", _BYTE, 16)),
    3: _blocks("Q4_1", 32, _q4_1, _D, _M, ("q", _BYTE, 16)),
    6: _blocks("Q5_0", 32, _q5_0, _D, ("h", _BYTE, 4), ("q", _BYTE, 16)),
    7: _blocks("Q5_1", 32, _q5_1, _D, _M, ("h", _BYTE, 4), ("q", _BYTE, 16)),
    8: _blocks("Q8_0", 32, _q8_0, _D, ("q", _SIGNED, 32)),
    12: _blocks("Q4_K", 256, _q4_k, *_K, ("q", _BYTE, 128)),
    13: _blocks("Q5_K", 256, _q5_k, *_K, ("h", _BYTE, 32), ("q", _BYTE, 128)),
    14: _blocks("Q6_K", 256, _q6_k, ("l", _BYTE, 128), ("h", _BYTE, 64), ("s", _SIGNED, 16), _D),
}
"""The block formats that are read, by their numbers in a file."""

UNREAD = {
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
}
"""Those that are known by name only."""


def dequantised(raw: NDArray[np.uint8], blocks: Blocks) -> NDArray[Any]:
    """The numbers that stand in some bytes, one after the other."""
    with np.errstate(all="ignore"):  # A scale may be infinite; what comes of it is the file's.
        return blocks.numbers(raw.view(blocks.record)).reshape(-1)
