"""`tinygrad-attn zoo`: the kill matrix, one bug, the list, and what makes it fail."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tinygrad_attn.check import Report
from tinygrad_attn.check.zoo import BUGS, matrix
from tinygrad_attn.check.zoo.alarms import Outcome
from tinygrad_attn.check.zoo.matrix import Bend, Trial, tried
from tinygrad_attn.cli import main, zoo

GELU = "gelu-with-slope-of-its-approximation"
FEW = ["softmax-diagonal", GELU, "flip-passes-on", "relu-at-its-kink"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zoo of four, and three points."""
    bugs = {name: BUGS[name] for name in FEW}
    for module in (zoo, matrix):
        monkeypatch.setattr(module, "BUGS", bugs)
    monkeypatch.setattr(zoo, "POINTS", 3)


@pytest.mark.usefixtures("few")
def test_the_matrix_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "zoo.md"
    assert main(["zoo", "--checks", "5", "--jobs", "1", "--markdown", str(page)]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines["softmax-diagonal"][1:5] == ["softmax", "caught", "caught", "caught"]
    assert lines["softmax-diagonal"][-1] == "named"
    assert lines["flip-passes-on"][2] == "MISSED"
    assert lines["relu-at-its-kink"][-1] == "undecided"
    assert "called wrong" in out
    sums = re.findall(r"^ *(.+?)  .*?(\S+ of \S+) *$", out, re.M)
    assert dict(sums)["bugs caught at 3 sizes"] == "3 of 3"
    assert dict(sums)["false alarms"] == "0 of 5"
    assert dict(sums)["exact GELU, slope of its tanh form"] == "3 of 3"
    assert "ours caught every bug, and raised no false alarm" in out
    text = page.read_text("utf-8")
    assert sum(line.startswith("| ") for line in text.splitlines()) == 2 + 6 + 2 + len(FEW)
    assert all(BUGS[name].lesson in text for name in FEW)
    assert len({line.count("|") for line in text.split("\n\n")[0].splitlines()}) == 1


def test_one_bug_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--bug", "softmax-diagonal"]) == 0
    out = capsys.readouterr().out
    assert "return g * out * (1 - out)" in out
    assert "first wrong operation: softmax, argument x" in out
    assert "only the diagonal of the Jacobian" in out
    assert re.search(r"ours +named \(3 of 3 sizes\)", out)
    assert "y(1 − y) is how one weight depends on its own score" in out


def test_the_list_has_every_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--list"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line and line[0] != " "] == list(BUGS)
    assert all(len(line) <= 100 for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bug", "softmax"], "no bug is called 'softmax'; did you mean softmax-sign"),
        (["--bug", "xyzzy"], "no bug is called 'xyzzy'; all names: tinygrad-attn zoo --list"),
        (["--checks", "-1"], "--checks: expected an integer from 0"),
        (["--jobs", "0"], "--jobs: expected an integer from 1"),
        (["--bug", "x", "--list"], "not allowed with argument"),
        (["--markdown", "no/such/folder/zoo.md"], "--markdown: there is no folder no/such/folder"),
        (["--markdown", "/proc/zoo.md"], "--markdown: nothing can be written to /proc"),
        (["--bug", "softmax-sign", "--checks", "5"], "--checks is for the whole zoo"),
        (["--bug", "softmax-sign", "--jobs", "2"], "--jobs is for the whole zoo"),
        (["--bug", "softmax-sign", "--markdown", "x.md"], "--markdown is for the whole zoo"),
        (["--list", "--checks", "300"], "--checks is for the whole zoo"),
        (["--list", "--seed", "5"], "--seed is for what is planted, and --list plants nothing"),
    ],
)
def test_wrong_input_is_answered_by_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["zoo", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


# ── what makes it fail ───────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def seen() -> zoo.Visit:
    """A walk on which all is as claimed."""
    alarms = dict.fromkeys(("ours", "differences", "PyTorch's", "its fast mode"), False)
    caught = dict.fromkeys(alarms, True)
    return zoo.Visit(
        [tried(name) for name in FEW],
        dict.fromkeys(matrix.SIGHTS, 1e-11),
        [Bend(caught, True)],
        [Outcome("exp", "right", alarms, 0.01, None)],
    )


def test_nothing_fails_when_all_is_as_claimed(seen: zoo.Visit) -> None:
    assert zoo.failures(seen) == []


def test_each_claim_that_does_not_hold_is_told(seen: zoo.Visit) -> None:
    first, *others = seen.trials
    missed = replace(first, caught={**first.caught, "ours": 2})
    unnamed = Trial(first.name, (Report("wrong", op="softmax", cause="unknown"),) * 3, first.caught)
    (bend,), (check,) = seen.bends, seen.outcomes
    alarm = replace(check, alarms={**check.alarms, "ours": True})
    blind = {**seen.sights, "ours, Richardson": 1e-7}
    for told, wrong in {
        "ours misses softmax-diagonal": replace(seen, trials=[missed, *others]),
        "ours does not name softmax-diagonal": replace(seen, trials=[unnamed, *others]),
        "errors larger than promised escape: ours, Richardson": replace(seen, sights=blind),
        "not caught and named at 1 point": replace(seen, bends=[replace(bend, named=False)]),
        "ours raises 1 false alarm": replace(seen, outcomes=[alarm]),
    }.items():
        (sentence,) = zoo.failures(wrong)
        assert told in sentence


def test_one_unnamed_in_ten_is_enough(seen: zoo.Visit) -> None:
    first = seen.trials[0]
    unnamed = Trial(first.name, (Report("wrong"),) * 3, first.caught)
    assert not zoo.failures(replace(seen, trials=[unnamed, *[first] * 9]))
    assert zoo.failures(replace(seen, trials=[unnamed, *[first] * 8]))


def test_what_is_undecided_is_no_part_of_the_nine_in_ten(seen: zoo.Visit) -> None:
    """The sums count the wrong ones, and so does the claim about them."""
    first, kink = seen.trials[0], seen.trials[-1]
    unnamed = Trial(first.name, (Report("wrong"),) * 3, first.caught)
    trials = [unnamed, *[first] * 8, kink]
    assert kink.bug.verdict == "undecided"
    assert zoo.failures(replace(seen, trials=trials))
    assert ("… and named", "", "", "", "8 of 9") in zoo.sums(replace(seen, trials=trials))


def test_the_help_has_a_reason_for_each_way_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["zoo", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for reason in (
        "misses a bug",
        "names fewer than 90 % of the wrong ones",
        "overlooks an error of 1e-10 (complex step) or 1e-08 (Richardson)",
        "the slope of the other GELU",
        "false alarm",
    ):
        assert reason in text.rpartition("The exit code is 1")[2]


def test_one_bug_is_judged_once_by_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, calls = matrix.judged, []
    monkeypatch.setattr(matrix, "judged", lambda subject: calls.append(subject) or judged(subject))
    assert not hasattr(zoo, "judged")
    assert main(["zoo", "--bug", "softmax-diagonal"]) == 0
    assert len(calls) == len(matrix.SIZES)
