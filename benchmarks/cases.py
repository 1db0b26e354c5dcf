"""What is measured: the cases, their sizes, and who takes part."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

OURS = "tinygrad_attn"
NANOGPT = {"vocab_size": 65, "max_length": 64, "num_layers": 4, "num_heads": 4, "d_model": 128}
STEP = "training step: forward, backward, clipping, AdamW"


@dataclass(frozen=True)
class Peer:
    """A library to compare with.

    Attributes:
        label: its name in tables.
        package: what must be installed.
        module: what builds its work, with a function `make`.
        options: of that module's `make`.
    """

    label: str
    package: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Can it take part here?"""
        return find_spec(self.package) is not None


PEERS = {
    "torch": Peer("PyTorch eager", "torch", "benchmarks.peers.pytorch"),
    "torch-compiled": Peer(
        "PyTorch compiled", "torch", "benchmarks.peers.pytorch", {"compiled": True}
    ),
    "jax": Peer("JAX jit", "jax", "benchmarks.peers.jax"),
    "autograd": Peer("HIPS autograd", "autograd", "benchmarks.peers.autograd"),
    "mygrad": Peer("MyGrad", "mygrad", "benchmarks.peers.mygrad"),
    "floor": Peer("bare products", "numpy", "benchmarks.peers.floor"),
}
KERNELS = {"numpy": "numpy", "numba": "numba", "off": "numpy", "auto": "numpy"}  # set: package


@dataclass(frozen=True)
class Point:
    """One size of a case.

    Attributes:
        label: what is special about it; empty where a case has one point only.
        sizes: of the problem.
        x: where it stands on the horizontal axis of a chart, and on which line: {"series": x}.
        without: peers that cannot do this size.
        per: parts of a run (tokens), where the unit counts them.
    """

    label: str
    sizes: dict[str, Any]
    x: dict[str, float] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    per: int = 1


@dataclass(frozen=True)
class Case:
    """What `--only` takes.

    Attributes:
        title: one line on the work.
        problem: in problems.py; "import" for importing packages.
        points: the sizes.
        peers: who takes part besides this library.
        threads: how many all may use; None leaves that to `--threads`.
        launches: how often contestants are started anew; None leaves that to `--launches`.
        variants: peer -> label -> options: more than one way to do the work in a library.
        unit: "ms" a run, "tokens/s", or "MiB" at the peak of a process of its own.
        small: a size to warm up with before the memory that a run takes is measured; None where it
            is not.
    """

    title: str
    problem: str
    points: tuple[Point, ...]
    peers: tuple[str, ...] = tuple(PEERS)
    threads: int | None = None
    launches: int | None = None
    variants: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    unit: str = "ms"
    small: Point | None = None


def long_points() -> tuple[Point, ...]:
    """1k … 8k steps, without and with a causal mask; JAX keeps all weights: too many at 8k."""
    made = []
    for causal, name in ((False, "full"), (True, "causal")):
        for length in (1024, 2048, 4096, 8192):
            sizes = {"heads": 4, "width": 32, "length": length, "causal": causal}
            without = ("jax",) if length > 4096 else ()
            made.append(Point(f"T = {length:,}, {name}", sizes, {f"T, {name}": length}, without))
    return tuple(made)


def writing(layers: int, heads: int, width: int, batch: int) -> Point:
    """240 tokens after 16, in so many texts at once."""
    sizes = {"vocab_size": 65, "max_length": 256, "num_layers": layers, "num_heads": heads,
             "d_model": width, "batch": batch, "prompt": 16}  # fmt: skip
    texts = f"{batch} texts" if batch > 1 else "1 text"
    return Point(f"{layers} layers, {width} wide, {texts}", sizes, per=240 * batch)


def growing() -> tuple[Point, ...]:
    """nanoGPT's sizes, of which one at a time is smaller or larger; four sequences a step."""
    made = []
    for field_name, series, values in (
        ("d_model", "width", (64, 128, 256, 512)),
        ("num_layers", "depth", (1, 2, 4, 8)),
        ("max_length", "length", (32, 64, 128, 256, 512)),
    ):
        for value in values:
            sizes = {**NANOGPT, "batch": 4, field_name: value}
            made.append(Point(f"{series} {value}", sizes, {series: value}))
    return tuple(made)


CASES = {
    "attention": Case(
        "a layer of attention, 16 wide, 2 heads, 8 steps, float64: forward + backward",
        "attention",
        (Point("", {"d_model": 16, "num_heads": 2, "length": 8, "batch": 1}),),
        threads=1,
        variants={"torch": {"PyTorch eager": {},
                            "PyTorch, need_weights=False": {"need_weights": False}}},
    ),
    "chain": Case(
        "90 small ops (mul, mul, softmax ×30) on 8×8 float64: forward + backward",
        "chain",
        (Point("", {"length": 30, "width": 8}),),
        threads=1,
        variants={"floor": {"bare NumPy": {}}},  # all arithmetic: there are no products
    ),
    "nanogpt": Case(
        f"nanoGPT's CPU sizes (4 layers, 4 heads, 128 wide, 64 tokens × 12), {STEP}",
        "gpt",
        (Point("", {**NANOGPT, "batch": 12}),),
    ),
    "gpt-384": Case(
        f"GPT, 6 layers, 6 heads, 384 wide, 128 tokens × 8, {STEP}",
        "gpt",
        (Point("", {"vocab_size": 65, "max_length": 128, "num_layers": 6, "num_heads": 6,
                    "d_model": 384, "batch": 8}),),
    ),
    "vit": Case(
        f"ViT on 8×8 digits (3 layers, 4 heads, 32 wide, 17 patches × 32), {STEP}",
        "vit",
        (Point("", {"num_layers": 3, "num_heads": 4, "d_model": 32, "d_ff": 64, "batch": 32}),),
    ),
    "long-attention": Case(
        "attention, 4 heads × 32, float32: forward + backward",
        "long_attention",
        long_points(),
        ("torch", "jax", "floor"),
        small=Point("", {"heads": 4, "width": 32, "length": 512, "causal": False}),
    ),
    "generation": Case(
        "writing 240 tokens after 16 with a cache, always the most probable",
        "gpt",
        (writing(4, 4, 128, 1), writing(6, 6, 384, 8)),
        ("torch",),
        unit="tokens/s",
    ),
    "import": Case(
        "import in a fresh process, over importing NumPy",
        "import",
        (Point("", {}),),
        ("torch", "jax", "autograd", "mygrad"),
        threads=1,
        launches=1,  # each run is a fresh process
    ),
    "memory": Case(
        "peak memory of a process that trains nanoGPT's CPU sizes for 30 steps",
        "gpt",
        (Point("", {**NANOGPT, "batch": 12}),),
        unit="MiB",
    ),
    "growth": Case(
        f"4 texts, sizes around nanoGPT's CPU configuration, {STEP}",
        "gpt",
        growing(),
        ("torch", "floor"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """Who takes part in a case, and how its work is built: the arguments of a Contestant."""

    name: str
    make: str
    options: dict[str, Any]
    kernels: str | None = None

    @property
    def ours(self) -> bool:
        """Is it this library?"""
        return self.kernels is not None


def entries(case: Case, point: Point, peers: list[str], kernels: list[str]) -> list[Entry]:
    """Those who take part in a point: this library once for each kernel set, then the peers."""
    options = arguments(case, point, OURS)
    if case.problem == "import":  # kernels are not imported with it
        found = [Entry(OURS, "benchmarks.peers.startup", options, "auto")]
    else:
        found = [Entry(f"{OURS} ({k})", "benchmarks.peers.ours", options, k) for k in kernels]
    for key in peers:
        if key in case.peers and key not in point.without:
            found += of_peer(case, point, key)
    return found


def of_peer(case: Case, point: Point, key: str) -> list[Entry]:
    """A peer's entries, one for each variant."""
    peer = PEERS[key]
    if case.problem == "import":
        options = arguments(case, point, peer.package)
        return [Entry(peer.package, "benchmarks.peers.startup", options)]
    variants = case.variants.get(key, {peer.label: {}})
    options = arguments(case, point, peer.package) | peer.options
    return [Entry(label, peer.module, options | more) for label, more in variants.items()]


def arguments(case: Case, point: Point, package: str) -> dict[str, Any]:
    """What the `make` of a module gets."""
    if case.problem == "import":
        return {"package": package}
    return {"name": case.problem, "sizes": point.sizes}
