"""Uniform and normal numbers, made of raw random words in steps that every machine rounds alike.

An initialisation must give the same bits on every machine and with every release of NumPy. So
float32 values are computed here from the raw words of the bit generator, whose stream NumPy keeps
fixed, with nothing but integer operations and +, −, ×, ÷ and √, which IEEE 754 defines to the last
bit: the width of the vector registers and the version of the mathematical library do not matter.

Low precision (float16, bfloat16, float8) is drawn in float32 and rounded once, never out of the
stated bounds. float64 takes NumPy's own `random` and `standard_normal`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALL_WORDS = 2**64 - 1
_PIECE = 1 << 16
_ONE = np.int32(1)
_SIGN = np.int32(-(2**31))
_MAGNITUDE = np.int32(2**31 - 1)
_FRACTION = np.int32(2**23 - 1)
_FRACTION_BITS = np.int32(23)

# Minimax polynomials (Remez exchange on the relative error, in 40 digits), lowest power first.
# With s = (m - 1) / (m + 1): -2 log(m) = -s·P(s²) for m in [√½, √2], to 1.2e-7.
_LOGARITHM = (4.000000474892433, 1.3330444151672867, 0.825930121452738)
# sin(πx/2) = x·P(x²), to 9.4e-7, and cos(πx/2) = (1 - x²)·P(x²), to 2.1e-7, for x in [-1, 1].
_SINE = (1.5707948516588939, -0.6459209765365299, 0.0794876549067291, -0.00436246912983938)
_COSINE = (0.9999997922712631, -0.23369421260962178, 0.019938070273762973, -0.000845649687724439)

_SQRT_HALF_BITS = 0x3F3504F3  # of the float32 nearest to √½
# Taking one from the bits of u (a relative change of 1e-7) keeps log(u) from being exactly zero.
_BELOW = 1
_EXPONENT_FROM = np.int32(_SQRT_HALF_BITS + (32 << 23) - 1 + _BELOW)
_MANTISSA_FROM = np.int32(_SQRT_HALF_BITS + (1 << 23) - 1)
_TWO_LOG_TWO = np.float32(2 * math.log(2))
_TO_UNIT = 2.0**-31
# A little more than one: keeps the cosine from being exactly zero where x² rounds to one.
_ABOVE_ONE = np.float32(1 + 2**-23)


def fill_normal(
    rng: np.random.Generator, out: NDArray[Any], mean: float = 0.0, sigma: float = 1.0
) -> None:
    """Fill `out` with independent draws from N(mean, sigma²).

    In float32, by the transformation of Box and Muller (*A note on the generation of random normal
    deviates*, 1958), to a relative accuracy of 1e-6: 31 bits give the radius, which reaches
    6.6 sigma, and 33 the angle.

    Args:
        rng: the generator.
        out: shape `(n,)`, contiguous, any real floating dtype.
        mean: the mean.
        sigma: the standard deviation.
    """
    if out.dtype == np.float64:
        rng.standard_normal(out=out)
        out *= sigma
    elif out.dtype != np.float32 or out.size % 2:
        wide = np.empty(out.size + out.size % 2, np.float32)
        fill_normal(rng, wide, mean, sigma)
        np.copyto(out, wide[: out.size], casting="unsafe")
        return
    else:
        _fill_pairs(rng, out, sigma)
    if mean:
        out += out.dtype.type(mean)


def _fill_pairs(rng: np.random.Generator, out: NDArray[np.float32], sigma: float) -> None:
    """Box–Muller: cosines go to the first half of `out`, sines to the second.

    In pieces, because the time goes into memory traffic; a piece's working arrays stay in the
    cache, and are small enough that the C library keeps their memory for the next piece.
    """
    half = out.size // 2
    words = rng.integers(0, _ALL_WORDS, half, np.uint64, endpoint=True).view(np.int32)
    scratch = np.empty((2, min(half, _PIECE)), np.float32)
    for start in range(0, half, _PIECE):
        of_first = slice(start, min(start + _PIECE, half))
        of_second = slice(half + of_first.start, half + of_first.stop)
        _transform_words(
            words[of_first], words[of_second], out[of_first], out[of_second], sigma, scratch
        )


def _transform_words(
    a: NDArray[np.int32],
    b: NDArray[np.int32],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    sigma: float,
    workspace: NDArray[np.float32],
) -> None:
    """Box–Muller from the words `a` and `b`, which are overwritten, in place throughout."""
    first_bits, second_bits = first.view(np.int32), second.view(np.int32)
    scratch, value = workspace[:, : a.size]
    scratch_bits = scratch.view(np.int32)

    # u = |a| / 2³¹ with a odd: midpoints of a grid, never zero, and independent of the sign.
    np.bitwise_or(a, _ONE, out=a)
    np.copyto(first, a, casting="unsafe")
    np.bitwise_and(first_bits, _MAGNITUDE, out=first_bits)
    # u = m / 2ᵏ with m in [√½, √2): both from one subtraction of the bits.
    np.subtract(_EXPONENT_FROM, first_bits, out=second_bits)
    np.bitwise_and(second_bits, _FRACTION, out=scratch_bits)
    np.subtract(_MANTISSA_FROM, scratch_bits, out=first_bits)
    np.right_shift(second_bits, _FRACTION_BITS, out=second_bits)
    # radius² = -2 log(u) = k·2 log(2) - 2 log(m)
    np.add(first, np.float32(1), out=scratch)
    np.subtract(first, np.float32(1), out=first)
    np.divide(first, scratch, out=first)
    np.multiply(first, first, out=scratch)
    _polynomial(scratch, _LOGARITHM, 1.0, out=value)
    np.multiply(value, first, out=value)
    np.copyto(first, second_bits, casting="unsafe")
    np.multiply(first, _TWO_LOG_TWO, out=first)
    np.subtract(first, value, out=first)
    np.sqrt(first, out=first)
    # The angle is π/2·x with x in [-1, 1]; the other half of the circle is the sign of a.
    np.copyto(scratch, b, casting="unsafe")
    np.multiply(scratch, np.float32(_TO_UNIT), out=scratch)
    np.multiply(scratch, scratch, out=second)
    _polynomial(second, _COSINE, sigma, out=value)
    np.subtract(_ABOVE_ONE, second, out=b.view(np.float32))
    np.multiply(value, b.view(np.float32), out=value)
    np.bitwise_and(a, _SIGN, out=a)
    np.bitwise_xor(value.view(np.int32), a, out=a)
    _polynomial(second, _SINE, sigma, out=value)
    np.multiply(value, scratch, out=value)
    np.multiply(value, first, out=second)
    np.multiply(first, a.view(np.float32), out=first)


def _polynomial(
    x: NDArray[np.float32],
    coefficients: tuple[float, ...],
    scale: float,
    *,
    out: NDArray[np.float32],
) -> None:
    """Horner's scheme, with the scale in the coefficients, where it costs nothing."""
    *lower, highest = (np.float32(scale * coefficient) for coefficient in coefficients)
    np.multiply(x, highest, out=out)
    for coefficient in lower[:0:-1]:
        np.add(out, coefficient, out=out)
        np.multiply(out, x, out=out)
    np.add(out, lower[0], out=out)


def fill_uniform(rng: np.random.Generator, out: NDArray[Any], low: float, high: float) -> None:
    """Fill `out` with independent draws from U(low, high); no value lies outside.

    Args:
        rng: the generator.
        out: shape `(n,)`, contiguous, any real floating dtype.
        low: the lower bound.
        high: the upper bound.
    """
    if low == high:
        out.fill(low)
        return
    if out.dtype not in (np.float32, np.float64):
        wide = np.empty(out.size, np.float32)
        fill_uniform(rng, wide, low, high)
        round_inside(wide, out, low, high)
        return
    least, most = inside(low, high, out.dtype)
    if out.dtype == np.float64:
        rng.random(out=out)
        out *= high - low
        out += low
        np.clip(out, least, most, out=out)
        return
    words = rng.integers(0, _ALL_WORDS, (out.size + 1) // 2, np.uint64, endpoint=True)
    if low == -high:
        np.copyto(out, words.view(np.int32)[: out.size], casting="unsafe")
        out *= np.float32(float(most) * _TO_UNIT)
        return
    np.copyto(out, words.view(np.uint32)[: out.size], casting="unsafe")
    out *= np.float32((high - low) * 2.0**-32)
    out += np.float32(low)
    np.clip(out, least, most, out=out)


def inside(low: float, high: float, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The least and the greatest number of `dtype` in `[low, high]`; if there is none, reversed."""
    limit = largest(dtype)
    least, most = dtype.type(max(low, -limit)), dtype.type(min(high, limit))
    if float(least) < low:
        least = np.nextafter(least, dtype.type(limit))
    if float(most) > high:
        most = np.nextafter(most, dtype.type(-limit))
    return least, most


def round_inside(wide: NDArray[Any], out: NDArray[Any], low: float, high: float) -> None:
    """Round each value to the nearest number of `out.dtype` that is not outside `[low, high]`."""
    least, most = inside(low, high, out.dtype)
    np.clip(wide, wide.dtype.type(least), wide.dtype.type(most), out=wide)
    np.copyto(out, wide, casting="unsafe")


def largest(dtype: np.dtype[Any]) -> float:
    """The greatest finite number of a floating dtype."""
    return float(jnp.finfo(dtype).max)  # type: ignore[no-untyped-call]


def is_floating(dtype: np.dtype[Any]) -> bool:
    """True for real floating dtypes, also those that NumPy does not know by itself."""
    return bool(jnp.issubdtype(dtype, jnp.floating))
