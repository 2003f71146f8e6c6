"""The block formats of GGUF: how so many quantised numbers and their scales stand in memory.

A block is described as a record of NumPy; what its fields mean is a formula over whole arrays of
blocks. Numbers are small integers `q` times a scale `d`, with an offset or a minimum in some.

Not read are the formats whose numbers are indices into large tables (IQ1 to IQ3), and those that
stand in no file (Q8_1, Q8_K).

Source: the layouts of the structures `block_q4_0` to `block_nvfp4` of GGML, and checked value for
value against the `gguf` library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ansatz.checkpoint.dtypes import EXTENSIONS

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


def _pairs(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The four pairs of bits of all bytes: shape (…, n) becomes (…, 4, n), lowest pair first."""
    return (packed[..., None, :] >> np.arange(0, 8, 2, dtype=np.uint8)[:, None]) & np.uint8(3)


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


def _q2_k(b: NDArray[Any]) -> NDArray[np.float32]:
    # Of each half of the block: 32 bytes with two bits of four numbers.
    q = _pairs(_of(b, "q").reshape(len(b), 2, 32)).reshape(len(b), 16, 16)
    d = _scale(_of(b, "d")) * (_of(b, "s") & 15).astype(np.float32)
    m = _scale(_of(b, "m")) * (_of(b, "s") >> 4).astype(np.float32)
    return (d[..., None] * q.astype(np.float32) - m[..., None]).reshape(len(b), 256)


def _q3_k(b: NDArray[Any]) -> NDArray[np.float32]:
    low = _pairs(_of(b, "q").reshape(len(b), 2, 32)).reshape(len(b), 8, 32)
    # Bit j of byte i is the third bit of number i of the j-th 32.
    third = np.unpackbits(_of(b, "h")[:, None, :], axis=1, bitorder="little") << np.uint8(2)
    q = (low | third).astype(np.float32) - 4
    # Sixteen scales of six bits: the halves of eight bytes, above them the pairs of four.
    packed = _of(b, "s")
    s = _nibbles(packed[:, :8]) | _pairs(packed[:, 8:]).reshape(len(b), 16) << 4
    d = _scale(_of(b, "d")) * (s.astype(np.float32) - 32)
    return (d[..., None] * q.reshape(len(b), 16, 16)).reshape(len(b), 256)


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


# The sixteen numbers of these formats, closer to one another around zero.
_UNEVEN = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
# Those of a float of four bits, E2M1, twice as large.
_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


def _iq4_nl(b: NDArray[Any]) -> NDArray[np.float32]:
    return _scale(_of(b, "d")) * _UNEVEN[_nibbles(_of(b, "q"))]


def _iq4_xs(b: NDArray[Any]) -> NDArray[np.float32]:
    q = _UNEVEN[_nibbles(_of(b, "q").reshape(len(b), 8, 16))]
    # Eight scales of six bits: the halves of four bytes in turn, above them the pairs of two.
    low = np.stack([_of(b, "l") & 15, _of(b, "l") >> 4], axis=-1).reshape(len(b), 8)
    high = np.swapaxes(_pairs(_of(b, "h")), 1, 2).reshape(len(b), 8)
    d = _scale(_of(b, "d")) * ((low | high << 4).astype(np.float32) - 32)
    numbers: NDArray[np.float32] = (d[..., None] * q).reshape(len(b), 256)
    return numbers


def _digits(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """So many digits of base 3 of all bytes, first digits first; a byte is a fraction of 256."""
    moved = packed[:, None, :] * np.array([3**i for i in range(count)], np.uint8)[:, None]
    return ((moved.astype(np.uint16) * 3) >> 8).astype(np.uint8).reshape(len(packed), -1)


def _tq1_0(b: NDArray[Any]) -> NDArray[np.float32]:
    parts = (_of(b, "q")[:, :32], 5), (_of(b, "q")[:, 32:], 5), (_of(b, "h"), 4)
    q = np.concatenate([_digits(part, count) for part, count in parts], axis=1)
    return _scale(_of(b, "d")) * (q.astype(np.float32) - 1)


def _tq2_0(b: NDArray[Any]) -> NDArray[np.float32]:
    q = _pairs(_of(b, "q").reshape(len(b), 2, 32)).reshape(len(b), 256)
    return _scale(_of(b, "d")) * (q.astype(np.float32) - 1)


def _mxfp4(b: NDArray[Any]) -> NDArray[np.float32]:
    # A power of two, half of it because the numbers are twice as large.
    d = np.ldexp(np.float32(1), _of(b, "e").astype(np.int32) - 128)
    return d[:, None] * _E2M1[_nibbles(_of(b, "q"))]


def _nvfp4(b: NDArray[Any]) -> NDArray[np.float32]:
    d = (_of(b, "d") & 127).view(EXTENSIONS["float8_e4m3fn"]).astype(np.float32) * np.float32(0.5)
    q = _E2M1[_nibbles(_of(b, "q").reshape(len(b), 4, 8))]
    numbers: NDArray[np.float32] = np.where(np.isnan(d), np.float32(0), d)[..., None] * q
    return numbers.reshape(len(b), 64)


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
    10: _blocks("Q2_K", 256, _q2_k, ("s", _BYTE, 16), ("q", _BYTE, 64), _D, _M),
    11: _blocks("Q3_K", 256, _q3_k, ("h", _BYTE, 32), ("q", _BYTE, 64), ("s", _BYTE, 12), _D),
    12: _blocks("Q4_K", 256, _q4_k, *_K, ("q", _BYTE, 128)),
    13: _blocks("Q5_K", 256, _q5_k, *_K, ("h", _BYTE, 32), ("q", _BYTE, 128)),
    14: _blocks("Q6_K", 256, _q6_k, ("l", _BYTE, 128), ("h", _BYTE, 64), ("s", _SIGNED, 16), _D),
    20: _blocks("IQ4_NL", 32, _iq4_nl, _D, ("q", _BYTE, 16)),
    23: _blocks("IQ4_XS", 256, _iq4_xs, _D, ("h", _BYTE, 2), ("l", _BYTE, 4), ("q", _BYTE, 128)),
    34: _blocks("TQ1_0", 256, _tq1_0, ("q", _BYTE, 48), ("h", _BYTE, 4), _D),
    35: _blocks("TQ2_0", 256, _tq2_0, ("q", _BYTE, 64), _D),
    39: _blocks("MXFP4", 32, _mxfp4, ("e", _BYTE), ("q", _BYTE, 16)),
    40: _blocks("NVFP4", 64, _nvfp4, ("d", _BYTE, 4), ("q", _BYTE, 32)),
}
"""The block formats that are read, by their numbers in a file."""

UNREAD = {
    9: "Q8_1",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    21: "IQ3_S",
    22: "IQ2_S",
    29: "IQ1_M",
    41: "Q1_0",
}
"""Those that are known by name only."""


def dequantised(raw: NDArray[np.uint8], blocks: Blocks) -> NDArray[Any]:
    """The numbers that stand in some bytes, one after the other."""
    if not raw.size:
        return np.zeros(0, np.float32)  # As all of them give; a reshape by -1 needs numbers.
    with np.errstate(all="ignore"):  # A scale may be infinite; what comes of it is the file's.
        return blocks.numbers(raw.view(blocks.record)).reshape(-1)
