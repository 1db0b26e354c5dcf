"""The ways in which gradients are wrong: the catalogue that `gradcheck` chooses a cause from.

A report's cause begins with one of these phrases; what follows it are particulars.
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """What is wrong with a gradient; `advice` says what usually makes it so."""

    SIGN = "sign flipped"
    FACTOR = "constant factor"
    TRANSPOSED = "transposed"
    DIAGONAL = "only the diagonal of the Jacobian"
    OVERWRITTEN = "the last use overwrote earlier uses"
    BROADCAST = "sum over a broadcast axis missing"
    WRONG_AXIS = "sum over the wrong axis"
    PERMUTATION = "permutation not inverted"
    MASK = "mask not applied backward"
    MASK_INVERTED = "mask inverted backward"
    DETACHED = "detached branch"
    STALE = "stale saved value"
    DTYPE = "wrong dtype"
    KINK = "kink inside the step"
    RANDOM = "random function"
    FLOAT32 = "float32 resolution"
    PASSED_ON = "gradient passed on unchanged"
    IGNORED = "upstream gradient ignored"
    SHIFTED = "gradient shifted"
    ANOTHER_ARGUMENT = "gradient of another argument"
    ANOTHER_CALL = "derivative of another function"
    ARRAY_FACTOR = "factor that is an array"
    WRONG_VALUE = "another value used than needed"
    BRANCH = "one branch"
    HOOK = "a hook changed the gradient"
    NOT_A_NUMBER = "not a number"
    RAISES = "the rule raises"
    WRITES = "the rule writes into an array"
    UNKNOWN = "unknown"
