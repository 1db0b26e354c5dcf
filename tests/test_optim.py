"""Optimisers: the papers' formulas, groups, states, clipping, the schedule, and wrong input."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_attn import DTypeError, ShapeError, Tensor, nn, optim

KINDS = {
    "SGD": lambda params: optim.SGD(params, 0.1),
    "SGD, momentum": lambda params: optim.SGD(params, 0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda params: optim.Adam(params, 0.1, weight_decay=0.1),
    "AdamW": lambda params: optim.AdamW(params, 0.1, (0.8, 0.9), 1e-6, 0.1),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def variables(dtype: type = np.float64) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [
        Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
        for shape in ((3, 2), (5,), ())
    ]


def pull(params: list[Tensor], step: int) -> None:
    """Gradients of an uneven bowl with its bottom at 1."""
    for p in params:
        p.grad = Tensor((p.data - 1) * (1 + step % 3), dtype=p.dtype)


def formula(kind: str, w: np.ndarray, steps: int) -> np.ndarray:
    """The steps as the papers write them."""
    m = v = np.zeros_like(w)
    for t in range(1, steps + 1):
        g = (w - 1) * (1 + (t - 1) % 3)
        if kind == "SGD":
            w = w - 0.1 * g
        elif kind == "SGD, momentum":
            m = 0.9 * m + g + 0.1 * w
            w = w - 0.1 * m
        else:
            b1, b2, eps = (0.9, 0.999, 1e-8) if kind == "Adam" else (0.8, 0.9, 1e-6)
            g = g + 0.1 * w if kind == "Adam" else g
            w = w if kind == "Adam" else w - 0.1 * 0.1 * w
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            w = w - 0.1 * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return w


@every_kind
def test_steps_follow_the_formula(kind: str) -> None:
    params = variables()
    expected = [formula(kind, p.data, 7) for p in params]
    optimizer = KINDS[kind](params)
    for step in range(7):
        pull(params, step)
        optimizer.step()
    for p, value in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, value, rtol=1e-12)


@every_kind
def test_float32_stays_float32_and_steps_repeat_exactly(kind: str) -> None:
    runs = []
    for _ in range(2):
        params = variables(np.float32)
        optimizer = KINDS[kind](params)
        for step in range(3):
            pull(params, step)
            optimizer.step()
        runs.append([p.data for p in params])
    for first, second in zip(*runs, strict=True):
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, second)


@every_kind
def test_a_step_touches_no_array_that_a_graph_or_caller_holds(kind: str) -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    before, loss = w.data, (w * w).sum()
    optimizer = KINDS[kind]([w])
    w.grad = Tensor([0.3, 0.4])
    g = w.grad.data
    optimizer.step()
    np.testing.assert_array_equal(before, [1, 2])
    np.testing.assert_array_equal(g, np.array([0.3, 0.4], np.float32))
    assert (w.data != before).all()
    with pytest.raises(ValueError, match="read-only"):
        w._data[0] = 1
    w.grad = None
    loss.backward()  # as it was recorded: 2w of before
    np.testing.assert_array_equal(w.grad.data, [2, 4])


@every_kind
def test_gradients_in_any_memory_order(kind: str) -> None:
    straight, turned = (Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True) for _ in range(2))
    g = np.arange(6.0).reshape(3, 2) / 7
    straight.grad, turned.grad = Tensor(g.T.copy()), Tensor(g).T
    for p in (straight, turned):
        KINDS[kind]([p]).step()
    np.testing.assert_array_equal(straight.data, turned.data)


def test_what_has_no_gradient_stays() -> None:
    params = variables()
    optimizer = KINDS["AdamW"](params)
    before = params[1].data
    pull(params, 0)
    params[1].grad = None
    optimizer.step()
    np.testing.assert_array_equal(params[1].data, before)
    assert optimizer.states[1] == {}
    params[2].requires_grad = False  # frozen later on
    optimizer.zero_grad()
    optimizer.step()
    assert params[0].grad is None


def test_groups_have_options_of_their_own() -> None:
    matrix, vector, number = variables()
    start = [p.data for p in (matrix, vector, number)]
    optimizer = optim.AdamW(
        [{"params": [matrix], "weight_decay": 0.5}, {"params": iter([vector, number]), "lr": 0.2}],
        lr=0.1,
        weight_decay=0.0,
    )
    assert [group["lr"] for group in optimizer.groups] == [0.1, 0.2]
    for p in (matrix, vector, number):
        p.grad = Tensor(np.zeros(p.shape))
    optimizer.step()
    np.testing.assert_allclose(matrix.data, start[0] * 0.95, rtol=1e-15)
    np.testing.assert_array_equal(vector.data, start[1])
    optimizer.groups[1]["lr"] = 0.0
    pull([vector], 0)
    optimizer.step()
    np.testing.assert_array_equal(vector.data, start[1])


# ── state ────────────────────────────────────────────────────────────────────────────────────────


@every_kind
def test_a_loaded_state_goes_on_as_if_nothing_had_happened(kind: str) -> None:
    params, twins = variables(), variables()
    optimizer = KINDS[kind](params)
    for step in range(3):
        pull(params, step)
        optimizer.step()
    state = optimizer.state_dict()
    for twin, p in zip(twins, params, strict=True):
        twin.data = p.data
    other = KINDS[kind](twins)
    other.groups[0]["lr"] = 77.0
    other.load_state_dict(state)
    for saved in state["states"]:  # a copy: nobody feels this
        for value in saved.values():
            if isinstance(value, np.ndarray):
                value[...] = 9
    for step in range(3):
        pull(params, step)
        pull(twins, step)
        optimizer.step()
        other.step()
    for twin, p in zip(twins, params, strict=True):
        np.testing.assert_array_equal(twin.data, p.data)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    params = variables()
    optimizer = KINDS["Adam"](params)
    pull(params, 0)
    optimizer.step()
    good = optimizer.state_dict()
    wrong = [
        ({"groups": good["groups"]}, 'expected the keys "groups" and "states"'),
        ({**good, "groups": good["groups"] * 2}, r"expected groups of \[3\] parameters"),
        ({"groups": good["groups"], "states": good["states"][:2]}, "expected groups of"),
        ({**good, "states": good["states"][::-1]}, r"exp_avg of shape \(3, 2\), got \(\)"),
        ({**good, "states": [{"momentum": np.ones((3, 2))}, {}, {}]}, "expected the state .'step'"),
        ({**good, "groups": [{**good["groups"][0], "lr": -1}]}, "lr must be 0 or more, got -1"),
        ({**good, "groups": [{**good["groups"][0], "speed": 1}]}, 'a group has "params" and'),
    ]
    for state, message in wrong:
        with pytest.raises(ShapeError, match=message):
            optimizer.load_state_dict(state)
        assert optimizer.state_dict()["groups"] == good["groups"]
        assert (optimizer.states[0]["exp_avg"] == good["states"][0]["exp_avg"]).all()


# ── clipping and schedule ────────────────────────────────────────────────────────────────────────


def test_clipping_scales_all_gradients_alike() -> None:
    params = variables(np.float32)
    pull(params, 2)
    grads = [p.grad.data for p in params]
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    assert optim.clip_grad_norm(params, 100.0) == pytest.approx(norm)
    for p, g in zip(params, grads, strict=True):
        np.testing.assert_array_equal(p.grad.data, g)
    assert optim.clip_grad_norm(iter(params), norm / 3) == pytest.approx(norm)
    for p, g in zip(params, grads, strict=True):
        np.testing.assert_allclose(p.grad.data, g / 3, rtol=1e-5)
        assert p.grad.dtype == np.float32
    assert optim.clip_grad_norm(params, 100.0) == pytest.approx(norm / 3)


def test_clipping_without_gradients_and_with_infinite_ones() -> None:
    params = variables()
    assert optim.clip_grad_norm(params, 1.0) == 0
    params[0].grad = Tensor(np.full((3, 2), np.inf))
    params[1].grad = Tensor(np.ones(5))
    assert optim.clip_grad_norm(params, 1.0) == np.inf
    np.testing.assert_array_equal(params[1].grad.data, np.ones(5))
    with pytest.raises(ShapeError, match="max_norm must be positive, got 0"):
        optim.clip_grad_norm(params, 0)


def test_the_schedule_rises_and_falls() -> None:
    slow, fast = variables()[:2]
    optimizer = optim.SGD([{"params": [slow], "lr": 1.0}, {"params": [fast], "lr": 2.0}])
    schedule = optim.WarmupCosine(optimizer, warmup=3, total=7, lr_min=0.2)
    rates = []
    for _ in range(9):
        rates.append([group["lr"] for group in optimizer.groups])
        schedule.step()
    cosine = 0.2 + 0.8 * (1 + np.cos(np.pi * np.arange(5) / 4)) / 2
    np.testing.assert_allclose([r[0] for r in rates], [0.25, 0.5, 0.75, *cosine, 0.2], rtol=1e-12)
    assert rates[3] == [1, 2]
    assert rates[8] == [0.2, 0.2]
    again = optim.WarmupCosine(optim.SGD([slow], 1.0), 3, 7, 0.2)
    state = {"done": 5}
    again.load_state_dict(state)
    assert again.optimizer.groups[0]["lr"] == pytest.approx(rates[5][0])
    assert again.state_dict() == state


def test_the_schedule_refuses_impossible_numbers() -> None:
    optimizer = optim.SGD(variables())
    for warmup, total, lr_min in ((-1, 5, 0), (6, 5, 0), (1, 5, -1)):
        with pytest.raises(ShapeError, match="expected 0 ≤ warmup ≤ total and lr_min ≥ 0"):
            optim.WarmupCosine(optimizer, warmup, total, lr_min)
    with pytest.raises(ShapeError, match='expected a state with "done"'):
        optim.WarmupCosine(optimizer, 1, 5).load_state_dict({"step": 1})


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────


def test_wrong_parameters() -> None:
    w = variables()[0]
    for params in ([w, Tensor([1.0])], [w * 2], [np.ones(2)], [nn.Linear(2, 2)]):
        with pytest.raises(DTypeError, match=r"SGD: parameter \d is not a variable; pass model"):
            optim.SGD(params)
    for params in (nn.Linear(2, 2), [{"params": nn.Linear(2, 2)}]):
        with pytest.raises(DTypeError, match=r"got a Linear; pass model.parameters\(\)"):
            optim.SGD(params)
    with pytest.raises(DTypeError, match="clip_grad_norm: expected parameters, got a Linear; pass"):
        optim.clip_grad_norm(nn.Linear(2, 2), 1.0)
    with pytest.raises(ShapeError, match="SGD: there are no parameters"):
        optim.SGD([])
    with pytest.raises(ShapeError, match="appears more than once"):
        optim.SGD([{"params": [w]}, {"params": [w]}])
    with pytest.raises(ShapeError, match=r'a group has "params" and .*got \[.params., .speed.\]'):
        optim.SGD([{"params": [w], "speed": 2}])
    with pytest.raises(ShapeError, match='a group has "params"'):
        optim.SGD([{"lr": 2}])


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1.0},
        {"lr": float("nan")},
        {"weight_decay": -1.0},
        {"eps": -1.0},
        {"betas": (1.0, 0.5)},
        {"betas": (0.5, -0.1)},
    ],
)
def test_wrong_options(options: dict) -> None:
    with pytest.raises(ShapeError, match=r"AdamW: .* must (be 0 or more|lie in \[0, 1\)), got"):
        optim.AdamW(variables(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": "a"}, "lr must be a number, got 'a'"),
        ({"weight_decay": None}, "weight_decay must be a number, got None"),
        ({"betas": 0.9}, "betas must be two numbers, got 0.9"),
        ({"betas": (0.9, "a")}, "each of momentum and betas must be a number, got 'a'"),
    ],
)
def test_options_of_a_wrong_kind(options: dict, message: str) -> None:
    with pytest.raises(DTypeError, match=f"AdamW: {message}"):
        optim.AdamW(variables(), **options)
