"""The zoo's stand-ins for PyTorch's gradient check say what PyTorch's own says."""

from __future__ import annotations

import pytest

from tinygrad_attn.check.zoo import BUGS, SIZES
from tinygrad_attn.check.zoo.checkers import Plain, plain, torch_like, torch_like_fast

pytestmark = pytest.mark.torch

CLEAR = [name for name in BUGS if name.startswith(("softmax", "einsum", "layer-norm", "flip"))]
SMALL = ["masked-fill-leaks", "erf-rounded-constant", "log-guarded", "rms-norm-forgets-epsilon"]


def asked(case: Plain, fast: bool) -> bool:
    """What torch.autograd.gradcheck says of a function from one vector to another."""
    import torch

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.from_numpy(case.f(x.detach().numpy().copy()))

        @staticmethod
        def backward(ctx, g):
            return torch.from_numpy(case.vjp(g.numpy().copy()))

    x = torch.tensor(case.x, requires_grad=True)
    passed: bool = torch.autograd.gradcheck(
        Function.apply, (x,), fast_mode=fast, raise_exception=False, check_undefined_grad=False
    )
    return passed


def whole(case: Plain) -> Plain:
    """The same with one input and one output."""
    inputs, outputs = [slice(0, len(case.x))], [slice(0, case.size)]
    return Plain(case.f, case.vjp, case.x, inputs, outputs, case.size)


@pytest.mark.parametrize("name", [*CLEAR, *SMALL])
@pytest.mark.parametrize("fast", [False, True])
def test_the_stand_in_agrees_with_pytorch(name: str, fast: bool) -> None:
    stand_in, bug = torch_like_fast if fast else torch_like, BUGS[name]
    with bug.plant():
        case = whole(plain(bug.subject(SIZES[0])))
        assert stand_in(case) == asked(case, fast)
    right = whole(plain(bug.subject(SIZES[0])))
    assert stand_in(right)
    assert asked(right, fast)


def test_pytorch_misses_small_errors_as_its_stand_in_says() -> None:
    for name in SMALL:
        with BUGS[name].plant():
            case = whole(plain(BUGS[name].subject(SIZES[0])))
            assert asked(case, fast=False)
            assert torch_like(case)
