"""Elementary functions that LLVM vectorises: no branch, no call, no table.

The standard library's `exp` is a call for each number, which keeps a loop from handling 8 or 16 of
them at once.  Everything here takes one float32 or float64, returns its kind, and is inlined.  NaN
stays NaN, and infinities give what NumPy gives.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, log, sqrt
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ..with_numpy.activations import erfc_polynomial
from .compile import compiled_for_kinds, instruction

Scalar = Any

# ln 2 = high + low; high is so short that n·high is exact.
LN2 = {
    types.float32: (0.69287109375, 2.7608680994530943e-4),
    types.float64: (0.6931471675634384, 1.2996506893889889e-8),
}


def exp(x: Scalar) -> Scalar:
    """eˣ = 2ⁿ·eʳ with n = round(x / ln 2), so that |r| ≤ ½ ln 2, where the Taylor series is short.

    Below twice the smallest normal number it is 0.
    """
    raise NotImplementedError("for compiled code")


@compiled_for_kinds(exp)
def exp_of(x: Scalar) -> Callable[[Scalar], Scalar]:
    """`exp` for a kind of number."""
    real, bits, terms = (np.float32, 23, 7) if x == types.float32 else (np.float64, 52, 13)
    bias = np.finfo(real).maxexp - 1
    # Added to n, this leaves n − 1 + bias in the lowest bits: the exponent of 2ⁿ⁻¹ as it is stored.
    magic = real(1.5 * 2**bits + bias - 1)
    lowest, highest = (real(n * log(2)) for n in (2 - bias, bias + 1))
    per_ln2, zero, infinity = real(1 / log(2)), real(0), real(np.inf)
    high, low = (real(part) for part in LN2[x])
    series = tuple(real(2 / factorial(k)) for k in reversed(range(terms)))  # of 2·eʳ

    def code(x: Scalar) -> Scalar:
        stored = x * per_ln2 + magic
        n = stored - magic
        r = (x - n * high) - n * low
        out = series[0]
        for c in series[1:]:
            out = out * r + c
        out = out * exponent(stored, bits)
        out = zero if x < lowest else out
        return infinity if x > highest else out

    return code


@instruction
def exponent(context: Any, x: Any, bits: Any) -> Any:
    """The number whose exponent is stored in the lowest bits of `x`: these, shifted by `bits`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = ir.IntType(signature.return_type.bitwidth)
        moved = builder.shl(builder.bitcast(args[0], whole), builder.trunc(args[1], whole))
        return builder.bitcast(moved, args[0].type)

    return x(x, types.int64), code


@instruction
def maximum(context: Any, a: Any, b: Any) -> Any:
    """The larger of two, NaN if one is: what `max` and NumPy's `maximum` compile to is a branch.

    LLVM knows this instruction on x86 from numba 0.62 on.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        form = ir.FunctionType(kind, [kind, kind])
        return builder.call(builder.module.declare_intrinsic("llvm.maximum", [kind], form), args)

    return a(a, a), code


def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + e⁻ˣ)."""
    raise NotImplementedError("for compiled code")


@compiled_for_kinds(sigmoid)
def sigmoid_of(x: Scalar) -> Callable[[Scalar], Scalar]:
    """`sigmoid` for a kind of number."""
    one = np.float32(1) if x == types.float32 else np.float64(1)

    def code(x: Scalar) -> Scalar:
        return one / (one + exp(-x))

    return code


def normal(x: Scalar) -> tuple[Scalar, Scalar]:
    """Φ(x) = ½ erfc(−x/√2), the normal distribution function, and e^(−x²/2).

    erfc(a) = e^(−a²) p(1/(1 + a/2)) for a ≥ 0, with NumPy's kernel's polynomial p.
    """
    raise NotImplementedError("for compiled code")


@compiled_for_kinds(normal)
def normal_of(x: Scalar) -> Callable[[Scalar], tuple[Scalar, Scalar]]:
    """`normal` for a kind of number."""
    real = np.float32 if x == types.float32 else np.float64
    zero, half, one, slope = (real(c) for c in (0, 0.5, 1, 0.5 / sqrt(2)))
    series = [real(c) for c in erfc_polynomial(x.bitwidth // 8)]  # ½p, highest power first
    # The powers like the highest, and the others: two sums short enough for LLVM to unroll.
    first, second = tuple(series[::2]), tuple(series[1::2])
    odd = len(series) % 2 == 0  # are the first ones the odd powers?

    def code(x: Scalar) -> tuple[Scalar, Scalar]:
        bell = exp(-half * x * x)
        t = one / (abs(x) * slope + one)
        p, q = first[0], second[0]
        for c in first[1:]:
            p = p * (t * t) + c
        for c in second[1:]:
            q = q * (t * t) + c
        tail = (p * t + q if odd else p + q * t) * bell  # ½ erfc(|x|/√2)
        return (tail if x < zero else one - tail), bell

    return code
