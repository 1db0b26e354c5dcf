"""Identities of attention's gradients on plain arrays: they hold, and each sees a wrong backward.

What is judged is attention in bare NumPy, whose backward pass can be made wrong in the usual ways.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.check import IdentityError, assert_identities, identities
from tinygrad_attn.check.conditions import EQUATIONS
from tinygrad_attn.nn.functional import attention

Array = np.ndarray[Any, Any]
Rng = np.random.Generator
B, H, G, T, S, D, E = 2, 6, 2, 5, 7, 3, 4
LAST_HIDDEN = np.arange(S) < S - 1
MASKS: dict[str, Array | None] = {
    "no mask": None,
    "causal": np.tri(T, S, dtype=bool),
    "padding": np.broadcast_to(LAST_HIDDEN, (T, S)),
    "random": np.random.default_rng(5).random((B, 1, T, S)) < 0.6,
}
BUGS = (
    "diagonal only", "mean over queries", "mask not applied backward", "no scale in dQ",
    "no scale in dK", "scale twice in dQ", "first head of a group only", "group averaged in dV",
    "P transposed wrongly", "dP of other values", "dropped sign in dK", "stale dC", "wrong cap",
    "no normalisation backward", "key left out", "scale left out in P backward",
)  # fmt: skip


def by_hand(
    rng: Rng,
    mask: Array | None = None,
    *,
    bug: str = "",
    softcap: float | None = None,
    dtype: str = "float64",
    sizes: tuple[int, ...] = (H, G, T, S, D, E),
    front: tuple[int, ...] = (B,),
    scale: float | None = None,
    factor: float = 1.0,
) -> dict[str, Array]:
    """Attention forward and backward in NumPy; `bug` makes the backward pass wrong."""
    heads, groups, queries, keys, d, e = sizes
    shapes = (heads, queries, d), (groups, keys, d), (groups, keys, e)
    q, k, v = (rng.standard_normal((*front, *shape)).astype(dtype) for shape in shapes)
    many = partial(np.repeat, repeats=heads // groups, axis=-3)
    q = q * np.asarray(factor, dtype)
    scale = np.asarray(d**-0.5 if scale is None else scale, dtype)
    scores = q @ many(k).mT * scale
    capped = scores if softcap is None else softcap * np.tanh(scores / softcap)
    allowed = np.ones(scores.shape, bool) if mask is None else np.broadcast_to(mask, scores.shape)
    weights = softmax(capped, allowed)
    context = weights @ many(v)

    dcontext = rng.standard_normal(context.shape).astype(dtype)
    P = softmax(capped, allowed | (bug == "mask not applied backward"))
    P = softmax(capped / scale, allowed) if bug == "scale left out in P backward" else P
    P = P * np.asarray(2, dtype) if bug == "no normalisation backward" else P
    upstream = np.roll(dcontext, 1, -2) if bug == "stale dC" else dcontext
    dweights = upstream @ many(np.roll(v, 1, -2) if bug == "dP of other values" else v).mT
    axis = -2 if bug == "mean over queries" else -1
    mean = (P * dweights).sum(axis, keepdims=True)
    dmasked = P * (dweights - (P * dweights if bug == "diagonal only" else mean))
    dscores = dmasked if softcap is None else dmasked * (1 - (capped / softcap) ** 2)
    dscores = dmasked if bug == "wrong cap" else dscores
    raised = {"no scale in dQ": 0, "scale twice in dQ": 2}.get(bug, 1)
    dq = dscores @ many(k) * scale**raised
    dk = dscores.mT @ q * scale ** (0 if bug == "no scale in dK" else 1)
    dv = (np.flip(P, -1) if bug == "P transposed wrongly" else P).mT @ dcontext
    dk, dv = (g.reshape(*front, groups, -1, *g.shape[-2:]) for g in (dk, dv))
    if bug == "first head of a group only":
        dk, dv = dk[..., :1, :, :], dv[..., :1, :, :]
    dk, dv = dk.sum(-3), dv.mean(-3) if bug == "group averaged in dV" else dv.sum(-3)
    if bug == "dropped sign in dK":
        dk = -dk
    if bug == "key left out":
        dk[..., -1, :] = dv[..., -1, :] = 0
    return {
        "q": q, "k": k, "v": v, "dq": dq, "dk": dk, "dv": dv, "dcontext": dcontext,
        "scores": scores, "dscores": dscores, "dmasked": dmasked, "weights": weights,
        "dweights": dweights, "context": context,
    }  # fmt: skip


def softmax(x: Array, allowed: Array) -> Array:
    """With zeros for a query that may look nowhere."""
    top = np.where(allowed, x, -np.inf).max(-1, keepdims=True, initial=-np.inf)
    e = np.where(allowed, np.exp(np.where(allowed, x - top, 0)), 0)
    return np.asarray(e / np.maximum(e.sum(-1, keepdims=True), np.finfo(x.dtype).tiny))


def names(found: list[Any]) -> set[str]:
    """The keys of identities that are broken."""
    return {key for key, identity in zip(EQUATIONS, found, strict=True) if identity.broken}


def applying(found: list[Any]) -> set[str]:
    return {key for key, identity in zip(EQUATIONS, found, strict=True) if identity.applies}


BIASES = {"key bias", "value bias"}
MASKED = {"masked scores", "bound queries", "unseen keys"}
APPLY = {
    "no mask": set(EQUATIONS) - BIASES - MASKED,
    "causal": set(EQUATIONS) - BIASES,
    "padding": set(EQUATIONS) - BIASES - {"bound queries"},
    "random": set(EQUATIONS) - BIASES,
}


# ── right gradients ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", MASKS)
def test_they_hold_in_float64(rng: Rng, kind: str) -> None:
    found = assert_identities(**by_hand(rng, MASKS[kind]), mask=MASKS[kind])
    rare = {"value sums", "bound queries", "unseen keys"} if kind == "random" else set()
    assert applying(found) - rare == APPLY[kind] - rare
    assert max(identity.deviation for identity in found) < 1e-14
    assert all(identity.holds for identity in found if identity.applies)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "sizes", [(3, 3, 2, 5, 7, 3), (2, 1, 64, 64, 16, 16), (1, 1, 7, 257, 3, 2)]
)
def test_they_hold_in_less_than_float64(rng: Rng, dtype: str, sizes: tuple[int, ...]) -> None:
    m = by_hand(rng, dtype=dtype, sizes=sizes)
    found = assert_identities(**m)
    allowed = {"float32": 1e-5, "float16": 1e-2}[dtype]
    assert max(identity.deviation for identity in found) < allowed / 10
    m["dq"] = m["dq"] * np.asarray(1 + 10 * allowed, dtype)
    assert {"inner products", "query products"} & names(identities(**m))


@pytest.mark.parametrize("kind", MASKS)
def test_a_soft_cap_bends_the_rows_of_the_scores(rng: Rng, kind: str) -> None:
    m = by_hand(rng, MASKS[kind], softcap=0.8)
    found = assert_identities(**m, mask=MASKS[kind], softcap=0.8)
    assert "key sums" not in applying(found)
    del m["dmasked"]
    bent = identities(**m, mask=MASKS[kind])  # forgot to say so
    assert {"score rows", "key sums"} <= names(bent)
    assert "score rows" not in applying(identities(**m, mask=MASKS[kind], softcap=0.8))


LESS = ("q", "k", "v", "dq", "dk", "dv", "dcontext")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", MASKS)
def test_a_saturated_softmax_is_no_fault(rng: Rng, kind: str, dtype: str) -> None:
    """Nearly one-hot, dS is what is left of 1 − 1: measured by what cancelled."""
    for factor in (5.0, 30.0, 300.0):
        m = by_hand(rng, MASKS[kind], dtype=dtype, factor=factor)
        assert_identities(**m, mask=MASKS[kind])
        assert_identities(**{name: m[name] for name in LESS}, mask=MASKS[kind])
    m = by_hand(rng, MASKS[kind], dtype=dtype, factor=5.0, bug="no scale in dQ")
    few = {name: m[name] for name in LESS}
    assert "inner products" in names(identities(**few, mask=MASKS[kind]))


@pytest.mark.parametrize("scale", [-0.7, 1.0, 3.0])
def test_any_scale(rng: Rng, scale: float) -> None:
    m = by_hand(rng, scale=scale)
    for given in (m, {name: m[name] for name in LESS}):
        assert_identities(**given, scale=scale)
        wrong = {**given, "dk": given["dk"] * (1 + 1e-6)}
        assert "inner products" in names(identities(**wrong, scale=scale))
    assert {"query products", "group sums"} <= names(identities(**m, scale=2.0))


def test_gradients_of_this_library(rng: Rng) -> None:
    m = by_hand(rng, MASKS["causal"])
    q, k, v = (ta.Tensor(m[name], requires_grad=True) for name in "qkv")
    context = attention(q, k, v, causal=True)
    dq, dk, dv = ta.grad(context, [q, k, v], g=m["dcontext"])
    found = assert_identities(q, k, v, dq, dk, dv, m["dcontext"], context=context, causal=True)
    assert applying(found) == {
        "inner products", "value products", "key sums", "value sums", "bound queries", "unseen keys"
    }  # fmt: skip
    np.testing.assert_allclose(dq.data, m["dq"], rtol=1e-12, atol=1e-13)


def test_what_mask_says_is_what_causal_and_offset_say(rng: Rng) -> None:
    m = by_hand(rng, np.tri(T, S, 1, dtype=bool))
    said = identities(**m, causal=True, offset=1)
    for mask in (np.tri(T, S, 1, dtype=bool), np.where(np.tri(T, S, 1, dtype=bool), 0.0, -np.inf)):
        assert identities(**m, mask=mask) == said
    assert applying(said) >= {"masked scores", "unseen keys"}
    assert "masked scores" in names(identities(**m, causal=True, offset=0))


def test_rotated_keys_and_keys_before_rotation(rng: Rng) -> None:
    """A rotation by position leaves ⟨Q, dQ⟩ and ⟨K, dK⟩, and spoils the sum over the keys."""
    m = by_hand(rng, sizes=(H, G, T, S, 2, E))
    for name, count in (("q", T), ("k", S)):
        angle = -0.7 * np.arange(count)[:, None]  # back from what attention saw
        for at in (name, f"d{name}"):
            x, y = m[at][..., :1], m[at][..., 1:]
            turned = [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)]
            m[at] = np.concatenate(turned, -1)
    found = assert_identities(**m, rotary=True)
    assert not applying(found) & {"key sums", "query products"}
    assert names(identities(**m)) == {"key sums", "query products", "group sums"}


def test_dropped_weights_leave_what_they_leave(rng: Rng) -> None:
    m = by_hand(rng)
    keep = (rng.random(m["weights"].shape) < 0.7) / 0.7
    dropped = m["weights"] * keep
    values = np.repeat(m["v"], H // G, -3)
    m["context"] = dropped @ values
    m["dweights"] = m["dcontext"] @ values.mT * keep
    mean = (m["weights"] * m["dweights"]).sum(-1, keepdims=True)
    m["dmasked"] = m["dscores"] = m["weights"] * (m["dweights"] - mean)
    m["dq"] = m["dscores"] @ np.repeat(m["k"], H // G, -3) * D**-0.5
    for name, full in (
        ("dk", m["dscores"].mT @ m["q"] * D**-0.5),
        ("dv", dropped.mT @ m["dcontext"]),
    ):
        m[name] = full.reshape(B, G, -1, *full.shape[-2:]).sum(-3)
    found = assert_identities(**m, dropout=True)
    assert "value products" in applying(found)
    assert {"value sums", "group sums"} <= names(identities(**m))


# ── wrong gradients ──────────────────────────────────────────────────────────────────────────────
FAULTS: dict[tuple[str, str], set[str]] = {  # (bug, mask): what must be broken
    ("diagonal only", "no mask"): {"score rows", "key sums"},
    ("mean over queries", "causal"): {"score rows", "key sums"},
    ("mask not applied backward", "causal"): {
        "masked scores", "value products", "bound queries", "unseen keys", "group sums"
    },
    ("mask not applied backward", "padding"): {"masked scores", "unseen keys", "value products"},
    ("no scale in dQ", "no mask"): {"inner products", "query products"},
    ("scale twice in dQ", "causal"): {"inner products", "query products"},
    ("no scale in dK", "padding"): {"inner products", "group sums"},
    ("first head of a group only", "no mask"): {
        "inner products", "value products", "value sums", "group sums"
    },
    ("group averaged in dV", "causal"): {"value products", "value sums", "group sums"},
    ("P transposed wrongly", "no mask"): {"value products", "group sums"},
    ("dP of other values", "no mask"): {"row means"},
    ("dropped sign in dK", "no mask"): {"inner products", "group sums"},
    ("stale dC", "no mask"): {"row means"},
    ("no normalisation backward", "no mask"): {"score rows", "value sums", "value products"},
    ("key left out", "no mask"): {"key sums", "value sums", "inner products"},
    ("scale left out in P backward", "no mask"): {"value products", "group sums"},
}  # fmt: skip


@pytest.mark.parametrize(("bug", "kind"), FAULTS)
def test_a_wrong_backward_is_seen(rng: Rng, bug: str, kind: str) -> None:
    assert bug in BUGS
    m = by_hand(rng, MASKS[kind], bug=bug)
    found = identities(**m, mask=MASKS[kind])
    assert FAULTS[bug, kind] <= names(found), names(found)
    with pytest.raises(IdentityError) as caught:
        assert_identities(**m, mask=MASKS[kind])
    assert caught.value.identities == found
    for identity in found:
        if identity.broken:
            assert identity.deviation > 1e-3
            assert f"{identity.name}: broken ({identity.deviation:.1e})" in str(caught.value)
            assert f"usually: {identity.meaning}" in str(caught.value)


SHOWN = {
    ("no scale in dQ", "q k"): "⟨K, dK⟩ is 0.57735 ⟨Q, dQ⟩: 1/√3 (3 is the length of a head",
    ("no scale in dQ", ""): "⟨Q, dQ⟩ is 1.73205 ⟨S, dS⟩: √3 (3 is the length of a head; √d_k forg",
    ("scale twice in dQ", ""): "⟨Q, dQ⟩ is 0.57735 ⟨S, dS⟩: 1/√3",
    ("no scale in dK", ""): "⟨K, dK⟩ is 1.73205 ⟨S, dS⟩: √3",
    ("dropped sign in dK", ""): "⟨K, dK⟩ is -1 ⟨S, dS⟩: the sign is flipped",
    (
        "group averaged in dV",
        "",
    ): "⟨V, dV⟩ is 0.25 ⟨C, dC⟩: 1/4 (4 is the length of a group; a mean",
    ("no normalisation backward", ""): "⟨V, dV⟩ is 2 ⟨C, dC⟩",
    ("key left out", ""): "",
}


@pytest.mark.parametrize(("bug", "given"), SHOWN)
def test_a_factor_between_the_sides_is_named(rng: Rng, bug: str, given: str) -> None:
    m = by_hand(rng, bug=bug, sizes=(8, 2, T, S, D, E))
    if given:
        m = {name: array for name, array in m.items() if name.removeprefix("d") in given.split()}
    with pytest.raises(IdentityError) as caught:
        assert_identities(**m)
    expected = SHOWN[bug, given]
    assert expected in str(caught.value)
    shown = [identity.shown for identity in caught.value.identities if identity.shown]
    assert (len(shown) == 1) == bool(expected)


def test_a_wrong_cap_is_seen(rng: Rng) -> None:
    m = by_hand(rng, softcap=0.8, bug="wrong cap")
    del m["dscores"]
    assert not names(identities(**m, softcap=0.8))  # what is given of it is right in itself
    m["dscores"] = by_hand(np.random.default_rng(20), softcap=0.8)["dscores"]
    assert {"query products", "group sums"} <= names(identities(**m, softcap=0.8))


def test_every_identity_is_seen_to_fail(rng: Rng) -> None:
    seen = set().union(*FAULTS.values())
    m = by_hand(rng)
    assert set(EQUATIONS) - seen == {"weight rows"} | BIASES  # the biases: below
    assert names(identities(weights=m["weights"] * 1.001)) == {"weight rows"}


LITTLE: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "mask not applied backward": (("dq", "scores", "weights", "k"), {"bound queries"}),
    "no scale in dQ": (("q", "dq", "k", "dk"), {"inner products"}),
    "diagonal only": (("dk",), {"key sums"}),
    "group averaged in dV": (("dv", "dcontext"), {"value sums"}),
    "mean over queries": (("dscores",), {"score rows"}),
    "P transposed wrongly": (("v", "dv", "context", "dcontext"), {"value products"}),
    "stale dC": (("weights", "dweights", "context", "dcontext"), {"row means"}),
}


@pytest.mark.parametrize("bug", LITTLE)
def test_little_is_enough(rng: Rng, bug: str) -> None:
    given, seen = LITTLE[bug]
    right, wrong = (by_hand(np.random.default_rng(3), MASKS["causal"], bug=b) for b in ("", bug))
    for m, broken in ((right, set()), (wrong, seen)):
        few = {name: m[name] for name in given}
        causal = bug == "mask not applied backward"
        assert names(identities(**few, causal=causal)) == broken


def test_biases_of_the_layer_around(rng: Rng) -> None:
    m = by_hand(rng, MASKS["causal"])
    weight = rng.standard_normal((3, H * E))
    dbias = rng.standard_normal(3)
    per_head = (dbias @ weight).reshape(G, H // G, E).sum(1).ravel()
    layer = {
        "dkey_bias": m["dk"].sum((0, -2)).ravel(),
        "dvalue_bias": per_head,
        "doutput_bias": dbias,
        "output_weight": weight,
    }
    found = assert_identities(**m, **layer, causal=True)
    assert applying(found) >= BIASES
    for name in ("dkey_bias", "dvalue_bias"):
        wrong = {**layer, name: layer[name] + np.eye(1, layer[name].size).ravel() * 1e-9}
        assert names(identities(**m, **wrong, causal=True)) == {name[1:].replace("_", " ")}


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["dq", "dk", "dv", "dscores", "dmasked", "dweights", "dcontext"])
def test_a_number_that_is_none_never_passes(rng: Rng, name: str, number: float) -> None:
    """It says in which array it is, and not what a wrong rule usually is."""
    m = by_hand(rng)
    if name in ("dscores", "dmasked"):  # the one that is not given is the same
        del m["dmasked" if name == "dscores" else "dscores"]
    m[name][..., 1, 2, 0] = number
    with pytest.raises(IdentityError) as caught:
        assert_identities(**m)
    lines = str(caught.value).splitlines()
    count = np.count_nonzero(~np.isfinite(m[name]))
    told = f"    {name} is not finite at {count} of {m[name].size} places"
    assert told in lines
    assert {line for line in lines if line.startswith("    ")} == {told}


def test_numbers_too_large_to_multiply_are_told(rng: Rng) -> None:
    m = by_hand(rng, sizes=(1, 1, 2, 3, 2, 2), front=())
    with pytest.raises(IdentityError, match="the numbers are finite, and too large to multiply"):
        assert_identities(q=m["q"] * 1e200, dq=m["dq"] * 1e200, k=m["k"], dk=m["dk"])


def test_a_small_fault_in_one_element_is_seen(rng: Rng) -> None:
    m = by_hand(rng, MASKS["causal"])
    for name, seen in (("dq", "query products"), ("dk", "key sums"), ("dv", "value sums")):
        wrong = m[name].copy()
        wrong[1, 1, 2, 2] += 1e-10
        assert seen in names(identities(**{**m, name: wrong}, causal=True))


# ── nothing passes by saying nothing ─────────────────────────────────────────────────────────────
def test_too_little_says_what_is_missing(rng: Rng) -> None:
    m = by_hand(rng)
    with pytest.raises(ta.ShapeError, match="nothing to check") as caught:
        assert_identities(q=m["q"], dq=m["dq"])
    assert "⟨Q, dQ⟩ = ⟨S, dS⟩ = ⟨K, dK⟩: does not apply (needs k and dk)" in str(caught.value)
    assert (
        "dQ is 0 for a query that may look at one key only: does not apply (needs a mask)"
        in str(caught.value)
    )


def test_zeros_do_not_pass(rng: Rng) -> None:
    m = by_hand(rng)
    zeros = {name: 0 * array if name.startswith("d") else array for name, array in m.items()}
    with pytest.raises(IdentityError, match="every gradient is 0"):
        assert_identities(**zeros)


def test_one_head_needs_no_axis_of_heads(rng: Rng) -> None:
    m = by_hand(rng, sizes=(1, 1, T, S, D, E), front=())
    flat = {name: array[0] for name, array in m.items()}
    assert [str(i) for i in assert_identities(**flat)] == [str(i) for i in identities(**m)]


def test_nothing_is_written_into_and_lists_will_do(rng: Rng) -> None:
    m = by_hand(rng, sizes=(1, 1, 2, 3, 2, 2), front=())
    before = {name: array.copy() for name, array in m.items()}
    assert_identities(**{name: array.tolist() for name, array in m.items()}, causal=False)
    assert_identities(**m)
    for name, array in m.items():
        np.testing.assert_array_equal(array, before[name])


# ── what is written about them ───────────────────────────────────────────────────────────────────
SWITCHES = {"dropout": "dropout", "softcap": "soft cap", "rotary": "rotary"}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_condition_names_what_it_forbids(rng: Rng, switch: str) -> None:
    given = by_hand(rng) | {
        "dkey_bias": np.zeros(G * D), "dvalue_bias": np.zeros(G * E), "doutput_bias": np.ones(3),
        "output_weight": np.ones((3, H * E)),
    }  # fmt: skip
    for left_out in ((), ("dmasked",)):
        m = {name: array for name, array in given.items() if name not in left_out}
        options = {switch: 0.8 if switch == "softcap" else True}
        for before, after in zip(identities(**m), identities(**m, **options), strict=True):
            if before.applies and not after.applies:
                assert SWITCHES[switch] in after.condition, after


def test_the_table_of_the_page_is_what_the_equations_say() -> None:
    page = Path(__file__).parent.parent / "docs" / "gradient-checking.md"
    text = page.read_text(encoding="utf-8").partition(
        "| identity | needs | holds |\n|---|---|---|\n"
    )
    rows = []
    for equation in EQUATIONS.values():
        ways = [
            ", ".join("a mask" if name == "allowed" else f"`{name}`" for name in names)
            for names in equation.needs
        ]
        rows.append(f"| {equation.name} | {' or '.join(ways)} | {equation.condition} |")
    assert text[2].partition("\n\n")[0].splitlines() == rows


RIGHT = np.ones((1, 2, 3, 5))
WRONG: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "lengths": (
        ta.ShapeError,
        r"q has 5 features but k has 4; they must match \(shapes \(1, 2, 3, 5\) and \(1, 2, 3, 4\)",
        lambda: identities(RIGHT, RIGHT[..., :4]),
    ),
    "gradient": (
        ta.ShapeError,
        "q has 3 queries but dq has 2",
        lambda: identities(q=RIGHT, dq=RIGHT[..., :2, :]),
    ),
    "front": (
        ta.ShapeError,
        r"q has the axes \(1,\) but dq has \(1, 1\)",
        lambda: identities(q=RIGHT, dq=RIGHT[None]),
    ),
    "groups": (
        ta.ShapeError,
        "3 key heads cannot serve 2 query heads",
        lambda: identities(RIGHT, np.ones((1, 3, 3, 5))),
    ),
    "one axis": (ta.ShapeError, r"got the shape \(5,\)", lambda: identities(q=RIGHT[0, 0, 0])),
    "integers": (ta.DTypeError, "q must hold real", lambda: identities(q=RIGHT.astype(int))),
    "complex": (ta.DTypeError, "got complex128", lambda: identities(dk=RIGHT * 1j)),
    "ragged": (ta.DTypeError, "dk is no array", lambda: identities(dk=[[1.0], [1.0, 2.0]])),
    "mask dtype": (
        ta.DTypeError,
        "True = may attend",
        lambda: identities(RIGHT, RIGHT, mask=np.ones((3, 3), int)),
    ),
    "mask shape": (
        ta.ShapeError,
        r"\(2, 2\) does not fit the scores \(1, 2, 3, 3\)",
        lambda: identities(RIGHT, RIGHT, mask=np.ones((2, 2), bool)),
    ),
    "offset": (ta.DTypeError, "offset must be", lambda: identities(RIGHT, RIGHT, offset=0.5)),  # type: ignore[arg-type]  # the wrong call
    "tolerance": (ta.ShapeError, "above 0", lambda: identities(dk=RIGHT, tolerance=0.0)),
    "bias": (
        ta.ShapeError,
        r"dkey_bias must have 10 columns, got the shape \(5,\)",
        lambda: identities(k=RIGHT, dkey_bias=RIGHT[0, 0, 0]),
    ),
}
OPTIONS: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
    ({"scale": "d"}, ta.DTypeError, "scale must be a number or None, got 'd'"),
    ({"scale": True}, ta.DTypeError, "scale must be a number or None, got True"),
    ({"scale": np.nan}, ta.ShapeError, "scale must be finite, got nan"),
    ({"softcap": True}, ta.DTypeError, "softcap must be a number or None, got True"),
    ({"softcap": "c"}, ta.DTypeError, "softcap must be a number or None, got 'c'"),
    ({"softcap": 0.0}, ta.ShapeError, "softcap must be above 0 and finite, got 0.0"),
    ({"softcap": np.inf}, ta.ShapeError, "softcap must be above 0 and finite, got inf"),
    ({"tolerance": True}, ta.DTypeError, "tolerance must be a number or None, got True"),
    ({"causal": 3}, ta.DTypeError, "causal must be True or False, got 3"),
    ({"causal": None}, ta.DTypeError, "causal must be True or False, got None"),
    ({"rotary": 1}, ta.DTypeError, "rotary must be True or False, got 1"),
    ({"dropout": 0.1}, ta.DTypeError, "dropout must be True or False, got 0.1"),
    ({"offset": True}, ta.DTypeError, "offset must be an integer, got True"),
)


@pytest.mark.parametrize(("options", "error", "message"), OPTIONS)
def test_wrong_options_say_so(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^identities: {message}"):
        identities(RIGHT, RIGHT, **options)
    identities(RIGHT, RIGHT, causal=np.True_, softcap=np.float32(2), scale=2, offset=np.int64(1))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_so(name: str) -> None:
    error, message, call = WRONG[name]
    with pytest.raises(error, match=message):
        call()
