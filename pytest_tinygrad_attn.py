"""The pytest plugin: gradient checks as tests, with nothing but the diagnosis when one fails.

    def test_score(gradcheck, rng):
        gradcheck(score, rng.standard_normal((2, 3)), rng.standard_normal((5, 3)))

    @pytest.mark.every_kernels
    def test_layer(gradcheck, rng): ...

It stands beside the package and not in it: pytest loads its plugins in every run, wherever the
package is installed, and so the package, and NumPy with it, is imported where a test asks for it.
`-p no:tinygrad_attn` leaves it out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import wraps
from inspect import isfunction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from tinygrad_attn.check import Report

MARKER, KERNEL_SET = "every_kernels", "_kernel_set"
SETS = ("off", "numpy", "numba")  # "auto" chooses among these
NO_NUMBA = 'numba is not installed: pip install "tinygrad_attn[fast]"'
VERDICTS = ("GradientError", "ProbeError", "IdentityError", "UndecidedWarning")


# ── fixtures ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def gradcheck() -> Callable[..., Report]:
    """`tinygrad_attn.check.gradcheck`; what cannot be judged fails too, with UndecidedWarning."""
    import warnings

    from tinygrad_attn.check import UndecidedWarning
    from tinygrad_attn.check import gradcheck as check

    @wraps(check)
    def strict(*arguments: Any, **options: Any) -> Report:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UndecidedWarning)
            return check(*arguments, **options)

    return strict


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers of this test's own: the same in every run, whatever else runs before it.

    And the same under every set of kernels, so that one can compare what they make of them.
    """
    import numpy as np

    return np.random.default_rng(list(name_of(request.node).encode()))


def name_of(item: pytest.Item) -> str:
    """A test's name wherever pytest was started, without that of the set of kernels."""
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    called, call = getattr(item, "originalname", item.name), getattr(item, "callspec", None)
    parameters = "" if call is None else call.id
    if call is not None and KERNEL_SET in call.params:  # its id is the first
        parameters = parameters.removeprefix(call.params[KERNEL_SET])
    return "::".join([item.path.name, *classes, called, parameters.removeprefix("-")])


class Kernels:
    """Which kernels run during a test.

    `kernels("off")` lets another set run at once, to the end of the test.
    """

    def __call__(self, name: str) -> None:
        """Let this set run: "off", "numpy", "numba" or "auto"."""
        from tinygrad_attn import kernels

        kernels.use(name)

    @property
    def name(self) -> str:
        """The set that runs now."""
        from tinygrad_attn.engine.settings import SETTINGS

        return SETTINGS.get().kernels

    @property
    def available(self) -> tuple[str, ...]:
        """The sets that can run here."""
        return tuple(name for name in SETS if name != "numba" or numba_is_there())


@pytest.fixture
def kernels() -> Iterator[Kernels]:
    """Chooses the set of kernels for the rest of a test; afterwards it is as it was."""
    from tinygrad_attn.kernels import use

    with use():  # restores
        yield Kernels()


@pytest.fixture(name=KERNEL_SET)
def _kernel_set(request: pytest.FixtureRequest, kernels: Kernels) -> None:
    """The set of kernels that a test with the marker runs under."""
    if hasattr(request, "param"):  # a base class's test in a subclass without the marker has none
        kernels(request.param)


# ── the marker ───────────────────────────────────────────────────────────────────────────────────
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names): run the test once under each set of tinygrad_attn's kernels "
        f"({', '.join(SETS)}), or under those named",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> None:
    """Let a test with the marker use the fixture, before others that compute something."""
    if not isfunction(obj):
        return
    own = getattr(obj, "pytestmark", [])
    if collector.get_closest_marker(MARKER) or any(mark.name == MARKER for mark in own):
        pytest.mark.usefixtures(KERNEL_SET)(obj)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each set; the one for numba is skipped, and says so, where that is missing."""
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None:
        return
    unknown = sorted(set(marker.args) - set(SETS))
    if unknown or marker.kwargs:
        pytest.fail(
            f"{metafunc.definition.nodeid}: {MARKER} takes names among {', '.join(SETS)}; got "
            f"{', '.join([*unknown, *marker.kwargs])}",
            pytrace=False,
        )
    sets = [parameter(name) for name in marker.args or SETS]
    metafunc.parametrize(KERNEL_SET, sets, indirect=True)


def parameter(name: str) -> Any:
    """A set of kernels as a parameter."""
    missing = name == "numba" and not numba_is_there()
    return pytest.param(name, id=name, marks=[pytest.mark.skip(NO_NUMBA)] if missing else [])


def numba_is_there() -> bool:
    """Is numba installed, and recent enough?"""
    from tinygrad_attn.kernels import installed

    return installed()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was not tested, for a skip alone is a letter among many."""
    skipped = [
        r for r in terminalreporter.stats.get("skipped", ()) if MARKER in getattr(r, "keywords", ())
    ]
    count = sum(NO_NUMBA in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{MARKER}: {count} not run under numba's kernels; {NO_NUMBA}")


# ── what a failure shows ─────────────────────────────────────────────────────────────────────────
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Leave out the way from a test to a verdict, and from a check to an error in what it checks.

    `--full-trace` shows it.
    """
    check = sys.modules.get("tinygrad_attn.check")
    if call.excinfo is None or check is None or item.config.getoption("fulltrace", False):
        return
    ours = Path(check.__file__ or "").parent
    if call.excinfo.errisinstance(tuple(getattr(check, name) for name in VERDICTS)):
        ours = ours.parent
    leave_out(call.excinfo.tb, (ours, Path(__file__)))


def leave_out(traceback: TracebackType, ours: tuple[Path, ...]) -> None:
    """Take the frames of these files and folders out of a traceback, but never the test's own."""
    last, following = traceback, traceback.tb_next
    while following is not None:
        file = Path(following.tb_frame.f_code.co_filename)
        if is_runner(last) or not any(file.is_relative_to(place) for place in ours):
            last.tb_next = following
            last = following
        following = following.tb_next
    last.tb_next = None


def is_runner(traceback: TracebackType) -> bool:
    """Is this frame pytest's?  What it calls is a test, a fixture, or a frame of its own."""
    module: str = traceback.tb_frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in ("_pytest", "pluggy")
