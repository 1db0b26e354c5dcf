"""Which kernels run, and on how many threads: `kernels.use`, the environment, `share`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor
from tinygrad_attn.engine.settings import SETTINGS
from tinygrad_attn.extras import ExtraError
from tinygrad_attn.kernels import Kernel, chosen, installed, sets, share, threads
from tinygrad_attn.kernels.threads import default_threads
from tinygrad_attn.nn import functional

BIG = 1 << 20  # elements: large enough for any kernel


def now() -> tuple[str, int | None]:
    return SETTINGS.get().kernels, SETTINGS.get().threads


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


# ── use ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("wrong", ["cuda", "", "NumPy", "numpy "])
def test_no_such_set(wrong: str) -> None:
    before = now()
    with pytest.raises(ShapeError, match=r"kernels\.use: expected one of .*numpy.*got"):
        ta.kernels.use(wrong)
    assert now() == before


@pytest.mark.parametrize("wrong", [3, True, ["numpy"], np.float32])
def test_a_set_is_named_by_a_string(wrong: Any) -> None:
    before = now()
    with pytest.raises(DTypeError, match=r"kernels\.use: expected one of"):
        ta.kernels.use(wrong)
    assert now() == before


@pytest.mark.parametrize("wrong", [0, -1, np.int64(0)])
def test_threads_are_counted(wrong: Any) -> None:
    before = now()
    with pytest.raises(ShapeError, match="threads must be 1 or more, got"):
        ta.kernels.use("off", threads=wrong)
    assert now() == before


@pytest.mark.parametrize("wrong", [1.5, "2", True, [2]])
def test_threads_are_whole(wrong: Any) -> None:
    before = now()
    with pytest.raises(DTypeError, match="threads must be an integer, got"):
        ta.kernels.use("off", threads=wrong)
    assert now() == before


def test_threads_may_be_numpys_integers() -> None:
    count: Any = np.int64(3)
    with ta.kernels.use("off", threads=count):
        assert now() == ("off", 3)
        assert type(now()[1]) is int


def test_use_takes_effect_at_once_and_each_setting_alone() -> None:
    with ta.kernels.use():  # restores
        ta.kernels.use("off")
        assert now() == ("off", None)
        ta.kernels.use(threads=3)
        assert now() == ("off", 3)
        ta.kernels.use("auto")
        assert now() == ("auto", 3)


def test_use_restores_on_exit() -> None:
    before = now()
    with ta.kernels.use("off", threads=5):
        with ta.kernels.use("auto"):
            assert now() == ("auto", 5)
        assert now() == ("off", 5)
    assert now() == before


def test_use_restores_after_an_error() -> None:
    before = now()
    with pytest.raises(ZeroDivisionError), ta.kernels.use("off", threads=2):
        raise ZeroDivisionError
    assert now() == before


def test_use_leaves_other_settings_made_inside() -> None:
    with ta.default_dtype(np.float32):  # restores
        with ta.kernels.use("off"):
            ta.default_dtype(np.float64)
        assert ta.default_dtype().dtype == np.float64


def test_a_new_thread_starts_as_the_process_did() -> None:
    found: list[tuple[str, int | None]] = []
    before = now()
    with ta.kernels.use("off", threads=7):
        worker = threading.Thread(target=lambda: found.append(now()))
        worker.start()
        worker.join()
    assert found == [before]


# ── which kernel runs ────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's kernel of SiLU gives 42."""
    right = sets.numpy_kernels()["silu"]
    kernel = Kernel(lambda x: (np.full_like(x, 42), None), right.backward)
    monkeypatch.setitem(sets.numpy_kernels(), "silu", kernel)


@pytest.mark.usefixtures("planted")
def test_the_set_in_use_computes() -> None:
    x = Tensor([0.0, 0.0])
    with ta.kernels.use("numpy"):
        assert functional.silu(x).numpy().tolist() == [42, 42]
    with ta.kernels.use("off"):
        assert functional.silu(x).numpy().tolist() == [0, 0]
    with ta.kernels.use("auto"):  # so small that compiling would not pay
        assert functional.silu(x).numpy().tolist() == [42, 42]


def test_an_operation_without_kernel_is_its_definition() -> None:
    for name in ("numpy", "off", "auto"):
        with ta.kernels.use(name):
            assert chosen("no such operation", 1) is None


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if numba were not installed."""
    caches = (sets.installed, sets.numba_kernels)
    for cached in caches:
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("without_numba")
def test_without_numba() -> None:
    before = now()
    with pytest.raises(ExtraError, match=r'pip install "tinygrad_attn\[fast\]"'):
        ta.kernels.use("numba")
    assert now() == before
    assert not installed()
    with ta.kernels.use("auto"):
        assert chosen("silu", BIG) is sets.numpy_kernels()["silu"]


@pytest.fixture
def numba_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Pretend that a numba of this version is installed."""
    caches = (sets.installed, sets.numba_kernels)

    def pretend(version: str) -> None:
        for cached in caches:
            cached.cache_clear()
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
        monkeypatch.setattr(sets, "need", lambda *given: None)
        monkeypatch.setattr(sets, "numba_version", lambda: version)

    yield pretend
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize("old", ["0.60.0", "0.61.2", "0.9", "unknown"])
def test_an_old_numba_is_none(old: str, numba_of: Callable[[str], None]) -> None:
    numba_of(old)
    before = now()
    with pytest.raises(
        ExtraError, match=rf"need numba 0\.62 or newer, got {old}; run: pip install"
    ):
        ta.kernels.use("numba")
    assert now() == before
    assert not installed()
    with ta.kernels.use("auto"):
        assert chosen("silu", BIG) is sets.numpy_kernels()["silu"]


@pytest.mark.parametrize("new", ["0.62.0", "0.62.0rc1", "0.100", "1.0.0"])
def test_a_numba_that_is_new_enough(new: str, numba_of: Callable[[str], None]) -> None:
    numba_of(new)
    assert installed()


@pytest.mark.numba
def test_numba_is_imported_when_its_first_kernel_runs() -> None:
    code = """if True:
        import sys, numpy as np
        from tinygrad_attn.nn.functional import silu
        silu(np.ones(8)); print("numba" in sys.modules)
        silu(np.ones(100_000)); print("numba" in sys.modules)
    """
    done = run(code, TINYGRAD_ATTN_KERNELS="auto")
    assert done.stdout.split() == ["False", "True"], done.stderr


@pytest.mark.parametrize("name", ["off", "numpy", "auto"])
def test_the_environment_says_where_a_process_starts(name: str) -> None:
    code = "from tinygrad_attn.engine.settings import SETTINGS; print(SETTINGS.get().kernels)"
    assert run(code, TINYGRAD_ATTN_KERNELS=name).stdout.split() == [name]


def test_without_a_word_in_the_environment_it_is_auto() -> None:
    code = "from tinygrad_attn.engine.settings import SETTINGS; print(SETTINGS.get().kernels)"
    assert run(code, TINYGRAD_ATTN_KERNELS="").stdout.split() == ["auto"]


def test_a_wrong_word_in_the_environment_is_named() -> None:
    code = "import tinygrad_attn as ta; ta.nn.functional.silu(ta.Tensor([1.0]))"
    done = run(code, TINYGRAD_ATTN_KERNELS="fast")
    assert done.returncode == 1
    assert "ShapeError" in done.stderr.splitlines()[-1]
    assert "TINYGRAD_ATTN_KERNELS: expected one of" in done.stderr


# ── how many threads ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("", None), ("0", None), ("x", None)])
def test_threads_without_being_told(
    asked: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    default_threads.cache_clear()
    try:
        assert threads() == expected if expected else threads() >= 1
        with ta.kernels.use(threads=5):
            assert threads() == 5
    finally:
        default_threads.cache_clear()


# ── share ────────────────────────────────────────────────────────────────────────────────────────
Parts = list[tuple[int, int]]


def parts_of(n: int, grain: int) -> Parts:
    parts: Parts = []
    share(lambda start, stop: parts.append((start, stop)), n, grain)
    return sorted(parts)


@pytest.mark.parametrize("n", [0, 1, 6, 7, 100])
@pytest.mark.parametrize("grain", [1, 3, 7, 1000])
def test_parts_cover_the_range_once_however_many_threads(n: int, grain: int) -> None:
    expected = [(start, min(start + grain, n)) for start in range(0, n, grain)]
    for count in (1, 2, 3, 8):
        with ta.kernels.use(threads=count):
            assert parts_of(n, grain) == expected


def test_parts_run_at_once() -> None:
    """Each part waits for the other: one thread alone would never get past it."""
    meet = threading.Barrier(2, timeout=30)
    with ta.kernels.use(threads=2):
        share(lambda start, stop: meet.wait(), 2, 1)


def test_one_thread_is_the_callers() -> None:
    seen: set[int] = set()
    with ta.kernels.use(threads=1):
        share(lambda start, stop: seen.add(threading.get_ident()), 9, 1)
    assert seen == {threading.get_ident()}


def both(work: Callable[[bool], object]) -> None:
    """Run `work` once in the caller's thread and once in a helper's, told which."""
    meet, caller = threading.Barrier(2, timeout=30), threading.get_ident()

    def part(start: int, stop: int) -> None:
        meet.wait()
        work(threading.get_ident() == caller)

    with ta.kernels.use(threads=2):
        share(part, 2, 1)


@pytest.mark.parametrize("fails", [True, False], ids=["caller", "helper"])
def test_errors_arrive(fails: bool) -> None:
    def work(callers: bool) -> None:
        if callers == fails:
            raise ZeroDivisionError(f"{callers}")

    with pytest.raises(ZeroDivisionError, match=f"{fails}"):
        both(work)
    with ta.kernels.use(threads=2):  # and the threads are as good as before
        assert len(parts_of(9, 1)) == 9


def test_after_an_error_nothing_runs_on() -> None:
    """Parts that have begun end before `share` does; no other begins."""
    meet, ended = threading.Barrier(3, timeout=30), []

    def work(start: int, stop: int) -> None:
        if start < 3:
            meet.wait()  # three threads, a part each
        if start == 0:
            raise ZeroDivisionError
        sleep(0.05)
        ended.append(start)

    with ta.kernels.use(threads=3), pytest.raises(ZeroDivisionError):
        share(work, 100, 1)
    found = sorted(ended)
    assert found == [1, 2]
    sleep(0.1)
    assert sorted(ended) == found


def test_helpers_see_the_callers_settings() -> None:
    seen: list[tuple[str, int | None]] = []
    with ta.kernels.use("off"), np.errstate(over="ignore"):
        both(lambda callers: seen.append((now()[0], np.exp(np.float32(1e4)) == np.inf)))
    assert seen == [("off", True)] * 2


def test_share_inside_share() -> None:
    """More parts wait than there are threads: nobody waits for a thread that waits for him."""
    done: list[int] = []
    with ta.kernels.use(threads=3):
        share(lambda i, _: share(lambda j, _: done.append(10 * i + j), 5, 1), 5, 1)
    assert sorted(done) == [10 * i + j for i in range(5) for j in range(5)]


def test_callers_at_once() -> None:
    def call(_: int) -> Parts:
        with ta.kernels.use(threads=3):
            return parts_of(50, 3)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(call, range(20)))
    assert all(parts == found[0] for parts in found)
    assert len(found[0]) == 17


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_shares_too() -> None:
    """The child has the pool's record but none of its threads."""
    code = """if True:
        import os, threading
        from tinygrad_attn.kernels import share, use
        use(threads=2)
        def together():
            meet = threading.Barrier(2, timeout=20)
            share(lambda start, stop: meet.wait(), 2, 1)
        together()
        child = os.fork()
        together()
        if not child:
            os._exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = run(code, PYTHONWARNINGS="ignore")
    assert done.stdout.split() == ["3"], done.stderr
