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
    NOT_ANALYTIC = "no complex step"
    PASSED_ON = "gradient passed on unchanged"
    IGNORED = "upstream gradient ignored"
    SHIFTED = "gradient shifted"
    ANOTHER_ARGUMENT = "gradient of another argument"
    ANOTHER_CALL = "derivative of another function"
    ARRAY_FACTOR = "factor that is an array"
    WRONG_VALUE = "another value used than needed"
    BRANCH = "one branch wrong"
    HOOK = "a hook changed the gradient"
    NOT_A_NUMBER = "not a number"
    RAISES = "the rule raises"
    WRITES = "a rule writes into the gradient"
    NOT_LINEAR = "backward is not linear"
    NOT_REPEATABLE = "backward twice gives different gradients"
    NOT_ADDED = "the gradients of two uses are not added"
    INPUT_WRITTEN = "f writes into an array that it is given"
    SECOND_ORDER = "the derivative of the rule is wrong"
    UNKNOWN = "unknown"

    @property
    def advice(self) -> str:
        """What usually makes it so, in one sentence; "" where there is nothing to say."""
        return ADVICE.get(self, "")


ADVICE = {
    Cause.SIGN: "look for a difference whose second operand is differentiated, or a loss that "
    "should be its negative",
    Cause.FACTOR: "look for a scale that the forward pass has and the rule has not, or for a mean "
    "where a sum belongs",
    Cause.TRANSPOSED: "dA = dY Bᵀ and dB = Aᵀ dY: write the shapes down and see which product fits",
    Cause.DIAGONAL: "the elements of a row share a sum, so every output depends on all of them: "
    "dx = y∘(dy − Σ dy∘y), not y(1 − y)dy",
    Cause.OVERWRITTEN: "what is used several times gets the sum of its gradients: add, do not "
    "assign",
    Cause.BROADCAST: "an argument that was repeated in the forward pass gets the sum over all its "
    "copies",
    Cause.WRONG_AXIS: "sum along the axis along which the forward pass summed",
    Cause.PERMUTATION: "backward needs the inverse permutation, np.argsort(axes)",
    Cause.MASK: "what the forward pass hides gets no gradient: multiply by the mask once more",
    Cause.MASK_INVERTED: "True means kept, in both directions",
    Cause.DETACHED: "look for .detach(), .data, .numpy() or a constant made from a variable",
    Cause.STALE: "the rule must see the values of its own call, not those of an earlier or later "
    "one",
    Cause.DTYPE: "the rule should compute in the dtype of its gradient",
    Cause.KINK: "there is no derivative here; check at another point",
    Cause.RANDOM: "two calls of f differ; fix the seed or pass the random numbers as an argument",
    Cause.FLOAT32: "f computes with fewer digits than the check needs; let it work in float64",
    Cause.NOT_ANALYTIC: "let f take complex numbers, or choose another method",
    Cause.PASSED_ON: "the chain rule multiplies by the derivative of every step",
    Cause.IGNORED: "a rule returns gᵀ∂f/∂x, so everything in it is multiplied by g",
    Cause.SHIFTED: "look for an offset or the bounds of a slice",
    Cause.ANOTHER_ARGUMENT: "the rules stand in the order of the arguments",
    Cause.ANOTHER_CALL: "forward and backward belong to different functions",
    Cause.ARRAY_FACTOR: "a factor of the derivative is missing or stands there twice",
    Cause.WRONG_VALUE: "some derivatives are written with the argument, some with the result",
    Cause.BRANCH: "the operation depends on its argument in several ways; each adds its gradient",
    Cause.HOOK: "what a hook returns replaces the gradient",
    Cause.NOT_A_NUMBER: "look for a division by zero, 0 · ∞, or a logarithm of 0",
    Cause.RAISES: "run backward by hand and read the traceback",
    Cause.WRITES: "other rules may share the array: g * out, not g *= out",
    Cause.NOT_LINEAR: "gᵀ∂f/∂x is linear in g: no clip, no norm and no power of g belongs there",
    Cause.NOT_REPEATABLE: "look for something that the rule changes and reads again",
    Cause.NOT_ADDED: "look for a gradient that is assigned where it should be added",
    Cause.INPUT_WRITTEN: "let f work on a copy",
    Cause.SECOND_ORDER: "write the rule with operations on tensors, not with NumPy on their .data",
}


def kind_of(cause: str | None) -> Cause | None:
    """The entry of the catalogue that a cause begins with."""
    return next((kind for kind in Cause if cause and cause.startswith(kind)), None)
