"""The pytest plugin, in suites of other people: fixtures, the marker, and what a failure shows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

import tinygrad_attn as ta
from tinygrad_attn import check

pytest_plugins = ["pytester"]
assert check  # imported here, so that it is the same module in every suite run inside
ROOT = Path(__file__).resolve().parent.parent
START = "import numpy as np, pytest, tinygrad_attn as ta\n"


@pytest.fixture
def run(pytester: pytest.Pytester):
    """Runs a suite of one file with the plugin; warnings are errors there too."""

    def run(code: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_theirs=START + code)
        plugin = ("-p", "pytest_tinygrad_attn", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess(*plugin, "-W", "error", "--strict-markers", *options)

    return run


def shown(result: pytest.RunResult) -> str:
    return result.stdout.str()


# ── gradcheck ────────────────────────────────────────────────────────────────────────────────────
FAILURES = {
    "a wrong gradient": (
        """
        def test_it(gradcheck, rng):
            with ta.exp.replaced_vjp("x", lambda g, out: 2 * g * out):
                gradcheck(ta.exp, rng.standard_normal(3))
        """,
        "gradcheck(ta.exp, rng.standard_normal(3))",
        ("GradientError: gradcheck: wrong (first order)", "first wrong operation: exp", "2"),
    ),
    "the function of the package": (
        """
        def test_it(rng):
            with ta.exp.replaced_vjp("x", lambda g, out: 2 * g * out):
                assert ta.check.gradcheck(ta.exp, rng.standard_normal(3))
        """,
        "assert ta.check.gradcheck(ta.exp, rng.standard_normal(3))",
        ("GradientError: gradcheck: wrong (first order)", "first wrong operation: exp", "2"),
    ),
    "a probe": (
        """
        def test_it(rng):
            ta.check.assert_causal(lambda x: ta.flip(x, 0), rng.standard_normal((3, 2)))
        """,
        "ta.check.assert_causal(lambda x: ta.flip(x, 0), rng.standard_normal((3, 2)))",
        ("ProbeError: assert_causal", "output 0 depends on input 2", "▪··"),
    ),
    "an identity": (
        """
        def test_it(rng):
            ta.check.assert_identities(dk=rng.standard_normal((3, 2)))
        """,
        "ta.check.assert_identities(dk=rng.standard_normal((3, 2)))",
        ("IdentityError: assert_identities", "dK sums to 0 over the keys: broken"),
    ),
    "what cannot be judged": (
        """
        def test_it(gradcheck):
            gradcheck(ta.relu, np.zeros(3))
        """,
        "gradcheck(ta.relu, np.zeros(3))",
        ("UndecidedWarning: gradcheck: undecided (first order)", "there is a kink"),
    ),
    "a wrong call": (
        """
        def test_it(gradcheck):
            gradcheck(ta.exp, 3)
        """,
        "gradcheck(ta.exp, 3)",
        ("DTypeError: gradcheck: no input is floating",),
    ),
}


def own_lines(result: pytest.RunResult) -> list[str]:
    """What stands below the heading of the only failure."""
    lines = result.outlines
    first = next(i for i, line in enumerate(lines) if line.strip("_ ") == "test_it")
    return lines[first + 1 : next(i for i, x in enumerate(lines) if "short test summary" in x)]


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_shows_the_line_and_the_diagnosis_alone(run, kind: str) -> None:
    code, line, said = FAILURES[kind]
    result = run(dedented(code))
    result.assert_outcomes(failed=1)
    output = own_lines(result)
    verdict = [text for text in output if text.startswith("E ")]
    (at,) = [text for text in output if text.startswith(">")]
    assert line in at
    for words in said:
        assert words in "\n".join(verdict), output
    assert not [text for text in output if "tinygrad_attn/" in text or "raise " in text], output
    assert output[-1].startswith("test_theirs.py:")


def dedented(code: str) -> str:
    return "\n".join(line[8:] for line in code.splitlines())


def test_the_short_forms_are_short(run) -> None:
    code = dedented(FAILURES["a wrong gradient"][0])
    short = run(code, "--tb=short")
    assert "test_theirs.py:5: in test_it" in shown(short)
    assert "gradcheck.py" not in shown(short)
    line = run(code, "--tb=line")
    assert "test_theirs.py:5: " in shown(line)


def test_their_own_frames_stay(run) -> None:
    """Of an error in the function that is checked one sees the test and the function."""
    code = """
def helper(gradcheck):
    gradcheck(broken, np.ones(3))

def broken(x):
    return ta.exp(x) * undefined

def test_it(gradcheck):
    helper(gradcheck)
"""
    result = run(code, "--tb=short")
    result.assert_outcomes(failed=1)
    places = [line for line in result.outlines if ": in " in line]
    assert [place.rpartition(" in ")[2] for place in places] == ["test_it", "helper", "broken"]
    assert "NameError: name 'undefined' is not defined" in shown(result)
    whole = run(code, "--full-trace")
    assert "gradcheck.py" in shown(whole)


NAMED_ALIKE = """
from pathlib import Path
PLACE = str(Path(ta.{module}.__file__).parent) + {beside!r}
exec(compile("def broken(x): return ta.exp(x) * undefined", PLACE, "exec"))
exec(compile("def test_verdict(): ta.check.assert_causal(lambda x: ta.flip(x, 0), np.eye(3))\\n"
             "def test_error(gradcheck): gradcheck(broken, np.ones(3))", PLACE, "exec"))
"""


@pytest.mark.parametrize("beside", ["_mine/f.py", "point_mine.py", "/inside.py"])
@pytest.mark.parametrize("module", ["check", "viz"])
def test_a_test_is_shown_wherever_it_stands(run, module: str, beside: str) -> None:
    """In a folder that is called nearly as the package is, and in the package itself."""
    result = run(NAMED_ALIKE.format(module=module, beside=beside), "--tb=short")
    result.assert_outcomes(failed=2)
    names = [line.rpartition(" in ")[2] for line in result.outlines if ": in " in line]
    inside = beside == "/inside.py" and module == "check"
    assert names == ["test_verdict", "test_error", *([] if inside else ["broken"])]


def test_errors_from_elsewhere_are_left_alone(run) -> None:
    result = run(
        """
def test_shapes():
    ta.matmul(ta.Tensor(np.ones((2, 3))), ta.Tensor(np.ones((2, 3))))

def test_theirs(gradcheck):
    assert 1 + 1 == 3
"""
    )
    result.assert_outcomes(failed=2)
    assert "linalg.py" in shown(result) or "primitive.py" in shown(result)
    assert "assert (1 + 1) == 3" in shown(result)


def test_right_gradients_pass_and_give_the_report(run) -> None:
    run(
        """
def test_it(gradcheck, rng):
    report = gradcheck(ta.tanh, rng.standard_normal(3), order=2, method="complex")
    assert report.ok and report.order == 2 and report.method == "complex step"
    assert gradcheck.__name__ == "gradcheck" and "numeric" in gradcheck.__doc__
"""
    ).assert_outcomes(passed=1)


def test_what_the_page_shows_runs(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numba: what a suite inside imports first is unloaded after it, and numba breaks."""
    monkeypatch.setattr("tinygrad_attn.kernels.installed", lambda: False)
    page = (ROOT / "docs" / "gradient-checking.md").read_text(encoding="utf-8")
    section = page.partition("## In your tests")[2]
    code = section.partition("```py\n")[2].partition("```")[0]
    before = "from tinygrad_attn import nn\ndef score(q, k):\n    return ta.softmax(q @ k.T)\n"
    run(before + code).assert_outcomes(passed=3, skipped=1)


# ── rng ──────────────────────────────────────────────────────────────────────────────────────────
def test_random_numbers_are_a_test_s_own(run, pytester: pytest.Pytester) -> None:
    code = """
@pytest.mark.parametrize("k", [1, 2])
def test_a(rng, k): write(f"a{k}", rng)
def test_b(rng): write("b", rng)
def write(name, rng):
    with open("drawn", "a") as file:
        file.write(f"{name} {rng.standard_normal()}\\n")
"""
    drawn = []
    for options in ([], ["test_theirs.py::test_b", "test_theirs.py::test_a"], ["-k", "b"]):
        run(code, *options)
        drawn.append(dict(x.split() for x in Path("drawn").read_text().splitlines()))
        Path("drawn").unlink()
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0].values())) == 3
    assert drawn[2] == {"b": drawn[0]["b"]}


UNDER_EACH_SET = """
@pytest.mark.every_kernels("off", "numpy")
@pytest.mark.parametrize("k", ["numpy", "b-off"])
def test_a(rng, k, kernels): write(f"a/{k}/{kernels.name}", rng)

@pytest.mark.every_kernels("off", "numpy")
def test_b(rng, kernels): write(f"b//{kernels.name}", rng)

class TestIt:
    def test_b(self, rng): write("TestIt", rng)

def write(name, rng):
    with open(Path(__file__).with_name("drawn"), "a") as file:
        file.write(f"{name} {rng.standard_normal()}\\n")
"""


def test_random_numbers_are_the_same_under_each_set_and_from_each_folder(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the sets can be compared; and no ini file says where the root is."""
    inside = pytester.mkdir("inside")
    code = "from pathlib import Path\nimport pytest\n" + UNDER_EACH_SET
    (inside / "test_theirs.py").write_text(code, encoding="utf-8")
    drawn = []
    for folder in (inside.parent, inside):
        monkeypatch.chdir(folder)
        plugin = ("-p", "pytest_tinygrad_attn", "-p", "no:cacheprovider")
        pytester.runpytest_inprocess(*plugin, "test_theirs.py" if folder == inside else "inside")
        lines = (inside / "drawn").read_text().splitlines()
        drawn.append(dict(line.split() for line in lines))
        (inside / "drawn").unlink()
    assert drawn[0] == drawn[1]
    by_test: dict[str, set[str]] = {}
    for name, number in drawn[0].items():
        by_test.setdefault(name.rpartition("/")[0], set()).add(number)
    assert {name: len(numbers) for name, numbers in by_test.items()} == {
        "a/numpy": 1, "a/b-off": 1, "b/": 1, "": 1
    }  # fmt: skip
    assert len(set.union(*by_test.values())) == 4


def test_a_doctest_may_ask_for_random_numbers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(theirs='"""\n>>> x = getfixture("rng")\n"""')
    plugin = ("-p", "pytest_tinygrad_attn", "-p", "no:cacheprovider")
    result = pytester.runpytest_inprocess(*plugin, "--doctest-modules", "theirs.py")
    result.assert_outcomes(passed=1)


def test_a_fixture_of_their_own_comes_first(run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef rng(): return 'theirs'")
    run("def test_it(rng): assert rng == 'theirs'").assert_outcomes(passed=1)


# ── kernels ──────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def _numpy() -> Iterator[None]:
    """Whatever the environment says, suites start with NumPy's kernels."""
    with ta.kernels.use("numpy"):
        yield


@pytest.mark.usefixtures("_numpy")
def test_kernels_are_chosen_and_restored(run) -> None:
    before = ta.engine.settings.SETTINGS.get()
    run(
        """
def test_first(kernels):
    assert kernels.name == "numpy" and {"off", "numpy"} <= set(kernels.available)
    kernels("off")
    assert kernels.name == "off" and ta.engine.settings.SETTINGS.get().kernels == "off"
    kernels("auto")

def test_second(kernels):
    assert kernels.name == "numpy"
    with pytest.raises(ta.ShapeError, match="nonsense"):
        kernels("nonsense")
"""
    ).assert_outcomes(passed=2)
    assert ta.engine.settings.SETTINGS.get() == before


EVERYWHERE = """
@pytest.fixture
def early():
    return ta.engine.settings.SETTINGS.get().kernels

@pytest.mark.every_kernels
def test_it(early, request, kernels):
    assert kernels.name == early == request.node.callspec.id

@pytest.mark.every_kernels("numpy", "off")
def test_some(request, early):
    assert request.node.callspec.id == early

class TestAll:
    pytestmark = pytest.mark.every_kernels("off")
    @pytest.mark.parametrize("k", [1, 2])
    def test_inside(self, k):
        assert ta.engine.settings.SETTINGS.get().kernels == "off"

class TestPlain:
    def test_shared(self, kernels):
        assert (kernels.name == "off") == isinstance(self, TestHeir)

class TestHeir(TestPlain):
    pytestmark = pytest.mark.every_kernels("off")

class TestOther(TestPlain):
    pass
"""


@pytest.mark.usefixtures("_numpy")
@pytest.mark.parametrize("installed", [True, False])
def test_a_test_for_each_set_of_kernels(run, installed: bool, monkeypatch) -> None:
    monkeypatch.setattr("tinygrad_attn.kernels.installed", lambda: installed)
    if installed:  # whether it is or not: nothing is computed
        monkeypatch.setattr("tinygrad_attn.kernels.sets.numba_kernels", dict)
    result = run(EVERYWHERE, "-v")
    names = [line.split()[0].partition("::")[2] for line in result.outlines if "::" in line]
    ids = [name for name in names if name.startswith(("test_it", "test_some"))]
    assert ids == [
        "test_it[off]", "test_it[numpy]", "test_it[numba]", "test_some[numpy]", "test_some[off]"
    ]  # fmt: skip
    assert {n for n in names if n.startswith("TestAll")} == {
        "TestAll::test_inside[off-1]", "TestAll::test_inside[off-2]"
    }  # fmt: skip
    result.assert_outcomes(passed=10 if installed else 9, skipped=0 if installed else 1)
    told = "every_kernels: 1 not run under numba's kernels; numba is not installed: pip install"
    assert (told in shown(result)) == (not installed)


def test_the_whole_module_can_have_it(run) -> None:
    code = 'pytestmark = pytest.mark.every_kernels("off", "numpy")\ndef test_it(): pass'
    run(code).assert_outcomes(passed=2)


@pytest.mark.parametrize("arguments", ['"cuda"', 'sets="off"'])
def test_a_set_that_does_not_exist_is_refused(run, arguments: str) -> None:
    result = run(f"@pytest.mark.every_kernels({arguments})\ndef test_it(): pass")
    lines = [x for x in result.outlines if "takes names among off, numpy, numba; got " in x]
    assert lines  # twice where the summary is not cut to the width of a terminal
    assert all("test_theirs.py::test_it: every_kernels takes names" in line for line in lines)
    assert "site-packages" not in shown(result)
    result.assert_outcomes(errors=1)


def test_the_marker_is_explained(run) -> None:
    assert "every_kernels(*names): run the test once" in shown(run("", "--markers"))
    fixtures = shown(run("def test_it(): pass", "--fixtures"))
    for name in ("gradcheck", "rng", "kernels"):
        assert f"{name} -- " in fixtures


# ── other people's suites ────────────────────────────────────────────────────────────────────────
def python(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        text=True,
        capture_output=True,
        timeout=60,
    )


def test_nothing_is_imported_before_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(
        "import sys\ndef test_it(request):\n"
        "    assert request.config.pluginmanager.has_plugin('pytest_tinygrad_attn')\n"
        "    assert not {'numpy', 'tinygrad_attn'} & set(sys.modules)\n"
        "def test_fails(): assert 0\n"
    )
    options = (
        "-m",
        "pytest",
        "-p",
        "pytest_tinygrad_attn",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
    )
    done = python(*options, cwd=tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["pytest_tinygrad_attn"]')
    pytester.makepyfile("def test_it(gradcheck): pass")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)
    without = pytester.runpytest_inprocess("-p", "no:tinygrad_attn")
    assert "fixture 'gradcheck' not found" in shown(without)


def test_the_package_needs_no_pytest(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pytest'] = None; import tinygrad_attn.check.suite"
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_it_is_declared_under_its_own_name() -> None:
    """So a conftest that names it and an installed entry point do not register it twice."""
    declared = ConfigParser()
    declared.read(ROOT / "setup.cfg", encoding="utf-8")
    assert declared["options"]["py_modules"] == "pytest_tinygrad_attn"
    points = declared["options.entry_points"]["pytest11"].strip()
    assert points == "pytest_tinygrad_attn = pytest_tinygrad_attn"
