"""The packaged table: every operation and layer, right to what the check allows."""

from __future__ import annotations

import pytest

import tinygrad_attn as ta
from tinygrad_attn import ops
from tinygrad_attn.check import suite
from tinygrad_attn.check.samples import OPERATIONS

ALIASES = {"abs": "absolute", "concat": "concatenate"}
CONSTANTS = {"one_hot"}  # their results have no gradient


@pytest.mark.parametrize("name", suite.SAMPLES)
def test_every_sample_is_right_at_first_and_second_order(name: str) -> None:
    rows = list(suite.rows_of(suite.SAMPLES[name], order=2))
    assert [(row.order, row.verdict) for row in rows] == [(1, "right"), (2, "right")]
    for row in rows:
        allowed = {"complex step": 1e-12, "Richardson": 1e-10}[row.method]
        assert row.max_error <= row.tolerance == row.report.tolerance == allowed
        assert row.kind == ("operation" if name in OPERATIONS else "layer")
        assert row.seconds > 0


def test_every_operation_has_a_sample() -> None:
    assert suite.missing() == []
    public = {ALIASES.get(name, name) for name in ops.__all__} - CONSTANTS
    assert public <= set(OPERATIONS)


def test_a_primitive_without_a_sample_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(suite.SAMPLES, "tanh")
    assert suite.missing() == ["tanh"]
    with pytest.raises(suite.UnknownSampleError, match=r"no sample for tanh"):
        list(suite.rows())


def test_only_some() -> None:
    assert {row.name for row in suite.rows("layernorm")} == {"LayerNorm"}
    assert {row.name for row in suite.rows("attention, causal")} == {"attention, causal"}
    with pytest.raises(suite.UnknownSampleError, match="no operation or layer is called 'nothing'"):
        list(suite.rows("nothing"))
    with pytest.raises(suite.UnknownSampleError, match="'layernrom'; did you mean LayerNorm"):
        suite.named("layernrom")


def test_a_wrong_rule_shows_in_the_table() -> None:
    with ta.tanh.replaced_vjp("x", lambda g, out: g * (1 + out * out)):
        rows = [row for row in suite.rows("tanh") if row.name == "tanh"]
    assert [(row.order, row.verdict, row.report.op) for row in rows] == [(1, "wrong", "tanh")]
