"""The training film: P and dP of every head over a training run, in one HTML file with a slider.

    film = Film(model, lambda model: model.loss(inputs, targets), examples=[words])
    for step in range(1, 301):
        film.add_loss(step, update())           the loss of this step, for the curve
        if step % 5 == 0:
            film.snap(step)                     P, dP and the norm of every module's gradient
    film.save("film.html")

Every snapshot asks the same question of the same input, in evaluation mode: only the model differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from ...engine import Array, DTypeError, GraphError, ShapeError, Tensor, grad
from ...nn import Module, Parameter
from ...nn.functional.layers import real
from ...nn.layers import natural
from ...study import Call, observed
from ..files import FilePath, write_whole
from ..labels import visible
from .film_page import film_page
from .naming import Names, named_examples

MOST = 60
LARGEST = 1 << 23  # numbers in a film: a page of 45 MB
Run = Callable[[Any], Tensor | Mapping[str, Tensor]]


@dataclass(frozen=True)
class Snapshot:
    """The model at one moment.

    Attributes:
        step: of the training.
        value: what `run` gave.
        weights, gradients: P and dP (B, H, T, S) of each recorded layer, float32.
    """

    step: int
    value: float
    weights: tuple[Array, ...]
    gradients: tuple[Array, ...]


@dataclass(frozen=True)
class Scene:
    """What stays the same in a film: one recorded layer and its labels.

    Attributes:
        name: the layer's, and its call where there are several: "blocks.0.attn (call 2)".
        allowed: where queries may look, (B, H or 1, T, S); None: everywhere.
        examples: the labels.
    """

    name: str
    cross: bool
    shape: tuple[int, ...]
    allowed: Array | None
    examples: tuple[Names, ...]


class Film:
    """Snapshots of a model that learns.

    Args:
        model: it is copied for every snapshot and never touched.
        run: run(model) -> a scalar Tensor, such as the loss on a fixed input, or several by name,
            as `anatomy` takes them.  It must use the model that it is given, and do the same each
            time.
        layers: names of the layers of attention to record, such as "blocks.0.attn"; all of them
            where None.
        examples: for each example of the batch a label for each token, or a pair of such lists: for
            queries and for keys.  Positions 0, 1, 2 … where None.
        title: of the page.
        target: which of several targets is followed, or in a word what the only one is; the first,
            or "loss", where None.
        most: snapshots that the film has in the end, evenly spread over the steps; the curves have
            more.

    Raises:
        DTypeError: the model is no nn.Module, `run` cannot be called, or a name is no text.
        ShapeError: `most` is not an integer of 2 or more, or two layers have one name.
    """

    def __init__(
        self,
        model: Module,
        run: Run,
        *,
        layers: Sequence[str] | None = None,
        examples: Sequence[Any] | None = None,
        title: str = "Training film",
        target: str | None = None,
        most: int = MOST,
    ) -> None:
        if not isinstance(model, Module):
            raise DTypeError(f"Film: expected an nn.Module, got a {type(model).__name__}")
        if not callable(run):
            raise DTypeError(f"Film: run must be a function of the model, got {run!r:.80}")
        if not natural(most) or most < 2:
            raise ShapeError(f"Film: most must be an integer of 2 or more, got {most!r}")
        if isinstance(layers, str) or not all(isinstance(name, str) for name in layers or ()):
            raise DTypeError(f"Film: layers must be a list of names, got {layers!r:.80}")
        if layers is not None and len(set(layers)) != len(layers):
            raise ShapeError(f"Film: each layer can be recorded once, got {list(layers)}")
        self.model, self.run, self.layers, self.examples = model, run, layers, examples
        self.title, self.target, self.most = title, target, int(most)
        self.snapshots: list[Snapshot] = []
        self.scenes: tuple[Scene, ...] = ()
        self.curve: list[tuple[int, float, list[float]]] = []  # step, value, norms
        self.training: list[tuple[int, float]] = []
        self.modules: tuple[str, ...] = ()

    # ── recording ────────────────────────────────────────────────────────────────────────────────
    def snap(self, step: int) -> float:
        """Record P and dP of the layers and the norm of every module's gradient.

        Returns:
            What `run` gave.

        Beyond twice `most` snapshots, those that the film will not need are forgotten.

        Raises:
            ShapeError: `step` is not above the last one, the value is no finite scalar, labels do
                not fit, or the film would be too large.
            DTypeError: `run` returns no Tensor.
            GraphError: a layer is not called, no gradient reaches it, or there is no such target.
        """
        last = self.curve[-1][0] if self.curve else -1
        if not natural(step) or step <= last:
            raise ShapeError(f"Film: step must be an integer above {last}, got {step!r}")
        twin = deepcopy(self.model).eval()
        with observed(twin) as calls:
            name, value = followed(self.run(twin), self.target)
        chosen = self.chosen(calls)
        owners = owned(twin)
        parameters = [p for few in owners.values() for p in few]
        weights = [call.stages.weights for call in chosen.values()]
        found = grad(value, [*weights, *parameters], allow_unused=True)
        gradients, rest = found[: len(weights)], iter(found[len(weights) :])
        reached(chosen, gradients)
        norms = [norm(next(rest) for _ in few) for few in owners.values()]
        self.keep(chosen, tuple(owners))
        self.target = name
        self.snapshots.append(
            Snapshot(
                int(step),
                value.item(),
                tuple(w.data.astype(np.float32) for w in weights),
                tuple(g.data.astype(np.float32) for g in gradients if g is not None),
            )
        )
        self.curve.append((int(step), value.item(), norms))
        if len(self.snapshots) > 2 * self.most:
            self.snapshots = self.frames
        return value.item()

    def add_loss(self, step: int, loss: float) -> None:
        """One point of the training loss, drawn behind the value on the film's own input.

        Raises:
            ShapeError: `step` is not above the last one.
            DTypeError: the loss is no number.
        """
        last = self.training[-1][0] if self.training else -1
        if not natural(step) or step <= last:
            raise ShapeError(f"Film: step must be an integer above {last}, got {step!r}")
        self.training.append((int(step), real("Film", "loss", loss)))

    @property
    def frames(self) -> list[Snapshot]:
        """The snapshots of the film: `most` of those taken, evenly spread over the steps."""
        chosen = evenly([snapshot.step for snapshot in self.snapshots], self.most)
        return [self.snapshots[at] for at in chosen]

    def chosen(self, calls: Sequence[Call]) -> dict[str, Call]:
        """The calls to record by name, each layer's second call under a name of its own."""
        numbers: dict[str, int] = {}
        named = {}
        for call in calls:
            n = numbers[call.name] = numbers.get(call.name, 0) + 1
            named[call.name if n == 1 else f"{call.name} (call {n})"] = call
        wanted = list(named) if self.layers is None else list(self.layers)
        missing = [name for name in wanted if name not in named]
        if missing or not wanted:
            asked, there = (", ".join(map(visible, names)) for names in (missing, named))
            raise GraphError(
                f"Film: expected run(model) to call {asked or 'attention'}, but it calls "
                f"{there or 'none'}; it must use the model that it is given"
            )
        return {name: named[name] for name in wanted}

    def keep(self, calls: dict[str, Call], modules: tuple[str, ...]) -> None:
        """What stays the same: taken from the first snapshot, asked of all others."""
        shapes = {name: call.weights.shape for name, call in calls.items()}
        before = {scene.name: scene.shape for scene in self.scenes}
        if self.scenes and (shapes != before or modules != self.modules):
            raise ShapeError(
                f"Film: every snapshot needs the same layers and input, {before}; got {shapes}"
            )
        total = 2 * self.most * sum(map(np.prod, shapes.values()))
        if total > LARGEST:
            raise ShapeError(
                f"Film: {self.most} snapshots would hold {total:,} numbers, {LARGEST:,} at most; "
                "choose fewer layers=…, a smaller batch, or a smaller most=…"
            )
        if not self.scenes:
            self.modules = modules
            self.scenes = tuple(scene(name, call, self.examples) for name, call in calls.items())

    # ── the page ─────────────────────────────────────────────────────────────────────────────────
    def to_html(self) -> str:
        """The whole page.

        Raises:
            GraphError: there is no snapshot.
        """
        if not self.snapshots:
            raise GraphError("Film: there is no snapshot; call snap(step) while the model learns")
        return film_page(self)

    def save(self, path: FilePath) -> Path:
        """Write the film to an HTML file; returns its path.

        Raises:
            GraphError: there is no snapshot.
            RenderError: the place cannot be written; what was there before is untouched.
        """
        return write_whole(path, self.to_html().encode("utf-8"))

    def __repr__(self) -> str:
        names = ", ".join(visible(scene.name) for scene in self.scenes) or "nothing yet"
        return f"Film({len(self.frames)} snapshots of {names})"


# ── one snapshot ─────────────────────────────────────────────────────────────────────────────────
def followed(result: Any, target: str | None) -> tuple[str, Tensor]:
    """The target that is followed and its name, if it is a number with a gradient."""
    if isinstance(result, Mapping):
        name = next(iter(result), None) if target is None else target
        if name not in result:
            asked, there = visible(name or ""), ", ".join(map(visible, result)) or "none"
            raise GraphError(
                f"Film: expected run(model) to return a target {asked}, it returns {there}"
            )
        return str(name), checked(result[name])
    return target or "loss", checked(result)


def checked(value: Any) -> Tensor:
    """A number with a gradient."""
    if not isinstance(value, Tensor):
        raise DTypeError(f"Film: run must return a Tensor, got {type(value).__name__}")
    if value.size != 1 or not isfinite(value.item()):
        what = value.item() if value.size == 1 else f"shape {value.shape}"
        raise ShapeError(f"Film: run must return one finite number, got {what}")
    if value.node is None:
        raise GraphError("Film: what run returns has no gradient; call snap outside no_grad")
    return value


def owned(model: Module) -> dict[str, list[Parameter]]:
    """The parameters with a gradient by the name of the module that holds them."""
    owners: dict[str, list[Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            owners.setdefault(name.rpartition(".")[0], []).append(parameter)
    return owners


def reached(calls: dict[str, Call], gradients: Iterable[Tensor | None]) -> None:
    """Refuse layers on which the value does not depend."""
    for name, gradient in zip(calls, gradients, strict=False):
        if gradient is None:
            raise GraphError(
                f"Film: what run returns does not depend on {visible(name)}; choose other layers=…"
            )


def norm(gradients: Iterable[Tensor | None]) -> float:
    """The norm of all these gradients together; NaN where there is none of them."""
    squares = [float((g.data.astype(np.float64) ** 2).sum()) for g in gradients if g is not None]
    return sqrt(sum(squares)) if squares else nan


def scene(name: str, call: Call, examples: Sequence[Any] | None) -> Scene:
    """What stays the same in a layer."""
    shape = call.weights.shape
    allowed = call.stages.masked.data > -np.inf
    if (allowed == allowed[:, :1]).all():
        allowed = allowed[:, :1]
    names = named_examples("Film", examples, shape[0], *shape[2:])
    return Scene(name, call.cross, shape, None if allowed.all() else allowed, tuple(names))


def evenly(steps: Sequence[int], most: int) -> list[int]:
    """Which `most` of the rising `steps` lie nearest to evenly spread ones, the ends included."""
    if len(steps) <= most:
        return list(range(len(steps)))
    wanted = np.linspace(steps[0], steps[-1], most)
    right = np.searchsorted(steps, wanted).clip(1, len(steps) - 1)
    there = np.asarray(steps)
    nearer = wanted - there[right - 1] <= there[right] - wanted
    return sorted({int(at) for at in np.where(nearer, right - 1, right)})
