"""Training: the loss falls, the same seed gives the same bits, the log says what happened."""

import io
import json
import math
import sys

import numpy as np
import pytest

from tinygrad_attn import checkpoint, data, train
from tinygrad_attn.environment import environment, limited_blas
from tinygrad_attn.models import GPT, GPTConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Sentences that a tiny model learns at once."""
    path = tmp_path_factory.mktemp("text") / "sea.txt"
    path.write_text("she sells sea shells by the sea shore.\n" * 60)
    return data.text(path)


def trainer(corpus, *, seed=3, dropout=0.1, **settings):
    rng = np.random.default_rng(seed)
    model = GPT(GPTConfig(len(corpus.vocabulary), 10, 1, 2, 16, dropout), rng=rng)
    settings = {"steps": 60, "batch": 5, "lr": 0.02, "evaluate_every": 20} | settings
    return train.Trainer(
        train.Language(model, corpus), train.TrainConfig(seed=seed, **settings), rng
    )


def test_the_loss_falls_below_that_of_counting_pairs(corpus):
    t = trainer(corpus, steps=120)
    records = list(t)
    steps = [r for r in records if isinstance(r, train.Step)]
    evaluations = [r for r in records if isinstance(r, train.Evaluation)]
    assert [s.step for s in steps] == list(range(1, 121))
    assert [e.step for e in evaluations] == [20, 40, 60, 80, 100, 120]
    bigram = data.Bigram(corpus.train, len(corpus.vocabulary)).loss(corpus.held_out)
    assert evaluations[-1].held_out < 0.75 * bigram < steps[0].loss
    assert all(s.seconds > 0 and s.grad_norm > 0 for s in steps)


def test_the_same_seed_gives_the_same_bits(corpus):
    runs = [[], [], []]
    trainers = [trainer(corpus, seed=s, steps=25) for s in (3, 3, 4)]
    for run, t in zip(runs, trainers, strict=True):
        run += [
            (r.step, r.loss, r.lr, r.grad_norm) if isinstance(r, train.Step) else r.held_out
            for r in t
        ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    first, second = (t.task.model.state_dict() for t in trainers[:2])
    assert all((first[name] == second[name]).all() for name in first)


def test_the_learning_rate_rises_and_falls(corpus):
    lr = [r.lr for r in trainer(corpus, steps=50, evaluate_every=99) if isinstance(r, train.Step)]
    assert np.argmax(lr) == 5
    assert lr[5] == pytest.approx(0.02)
    assert 0.002 <= lr[-1] < 0.0021


def test_weight_decay_spares_biases_and_norms(corpus):
    groups = trainer(corpus).optimizer.groups
    assert {p.ndim for p in groups[0]["params"]} == {2}
    assert {p.ndim for p in groups[1]["params"]} == {1}
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.1, 0)


def test_it_stops_at_the_target(corpus):
    t = trainer(corpus, steps=400, target=1.0)
    last = list(t)[-1]
    assert isinstance(last, train.Evaluation)
    assert last.held_out <= 1.0
    assert t.step == last.step < 400


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value", "ignore:divide by zero")
def test_a_loss_that_is_not_finite_stops_the_run(corpus):
    t = trainer(corpus)
    wpe = t.task.model.wpe.weight
    wpe.data = np.full(wpe.shape, np.inf)
    before = t.task.model.wte.weight.data.copy()
    with pytest.raises(train.TrainError, match=r"step 1: the loss is nan .*: lower the"):
        list(t)
    assert (t.task.model.wte.weight.data == before).all()


def test_overflow_while_training_is_told_by_the_error_alone(corpus):
    """Warnings are errors here."""
    with pytest.raises(train.TrainError, match="lower the learning rate, now"):
        list(trainer(corpus, lr=1e6, clip=1e6, warmup=0.0))


def test_a_text_that_is_shorter_than_the_model_is_long(corpus):
    model = GPT(GPTConfig(len(corpus.vocabulary), 234, 1, 1, 4))
    with pytest.raises(data.DataError, match="more than one window of 234 tokens, got 234"):
        train.Language(model, corpus)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("clip", math.inf),
        ("warmup", 1.5),
        ("lr_end", -0.1),
        ("seed", -1),
        ("weight_decay", -1.0),
        ("evaluate_every", 0),
        ("threads", 0),
        ("steps", "5"),
        ("steps", 1.5),
        ("seed", 1.5),
        ("lr", None),
        ("clip", "1"),
        ("target", "x"),
        ("target", math.nan),
        ("betas", (1, 2)),
        ("betas", 0.9),
    ],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(train.TrainError, match=f"TrainConfig: {name} must be"):
        train.TrainConfig(**{name: value})


# ── evaluation ───────────────────────────────────────────────────────────────────────────────────
def test_evaluation_weighs_every_token_alike(corpus):
    model = trainer(corpus).task.model.eval()
    tokens = corpus.held_out[:58]  # five windows of ten and one of seven
    whole = train.text_loss(model, tokens, size=2)
    assert whole == pytest.approx(train.text_loss(model, tokens, size=4), rel=1e-6)
    losses = [
        model.loss(
            tokens[None, i : i + 1 + 9][:, : len(tokens) - 1 - i], tokens[None, i + 1 : i + 11]
        )
        for i in range(0, 57, 10)
    ]
    expected = (sum(loss.item() * 10 for loss in losses[:5]) + losses[5].item() * 7) / 57
    assert whole == pytest.approx(expected, rel=1e-6)


def test_evaluation_has_no_dropout_and_leaves_the_mode_as_it_was(corpus):
    t = trainer(corpus, dropout=0.5)
    model = t.task.model.train()
    found = t.evaluate()
    assert model.training
    assert found.held_out == train.text_loss(model.eval(), corpus.held_out)
    assert found.examples == math.ceil((len(corpus.held_out) - 1) / 10)
    assert found.right is None


def test_evaluation_of_a_model_that_knows_nothing(corpus):
    t = trainer(corpus)
    for parameter in t.task.model.parameters():
        parameter.data = np.zeros(parameter.shape)
    assert t.evaluate().held_out == pytest.approx(math.log(len(corpus.vocabulary)), rel=1e-6)


# ── a whole run ──────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """A finished run: its folder, its trainer, its result, and what it showed."""
    folder, shown = tmp_path_factory.mktemp("run") / "a" / "b", []
    t = trainer(corpus, steps=30)
    return folder, t, train.run(t, folder, shown.append), shown


def test_a_run_writes_its_files(finished):
    folder, _, _, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors",
        "log.jsonl",
        "loss.png",
        "model.safetensors",
    ]
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_every_line_of_the_log_is_an_object(finished, corpus):
    folder, t, result, shown = finished
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["start"] + ["step"] * 20 + ["evaluation"] + [
        "step"
    ] * 10 + ["evaluation", "end"]
    start, *_, end = lines
    assert start["config"]["lr"] == 0.02
    assert start["model"]["name"] == "GPT"
    assert start["model"]["config"]["d_model"] == 16
    assert start["held_out"] == len(corpus.held_out)
    assert start["environment"]["numpy"] == np.__version__
    assert [line["loss"] for line in lines if line["kind"] == "step"] == [
        r.loss for r in shown if isinstance(r, train.Step)
    ]
    assert end["held_out"] == result.held_out == t.evaluate().held_out
    assert result.baseline.loss == start["baseline"]["loss"]
    assert result.right is end["right"] is None
    assert result.step == 30


def test_a_run_leaves_a_model_to_go_on_with(finished):
    folder, t, result, _ = finished
    back = checkpoint.load(folder / "model.safetensors")
    weights = t.task.model.state_dict()
    assert all((array == weights[name]).all() for name, array in back.model.state_dict().items())
    assert back.step == 30
    assert back.state["held_out"] == result.held_out
    assert back.state["vocabulary"] == list(t.task.corpus.vocabulary.symbols)
    assert checkpoint.load(folder / "best.safetensors").state["held_out"] == result.best


def test_a_second_run_adds_to_the_log(corpus, tmp_path):
    path = tmp_path / "log.jsonl"
    old = '{"kind": "start", "old": true}\n{"kind": "step", "loss": 1.'  # killed there
    path.write_text(old)
    train.run(trainer(corpus, steps=2), tmp_path)
    assert path.read_text().startswith(old + '\n{"kind": "start"')
    assert [line["kind"] for line in train.read_log(path)] == [
        "start",
        "step",
        "step",
        "evaluation",
        "end",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        (b"", "no line starts a run"),
        (b"\xff", "no line starts a run"),
        (b'[1]\n{"kind": "step"}\nwords', "no line starts a run"),
    ],
)
def test_a_file_that_is_no_log(tmp_path, content, sentence):
    path = tmp_path / "log.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(train.TrainError, match=sentence):
        train.read_log(path)


def test_a_name_with_any_character_stays_in_its_line(tmp_path):
    with train.Log(tmp_path / "log") as log:
        log.write("start", data="sp\u2028ace\u0085")
        log.write("end")
    assert [line["kind"] for line in train.read_log(tmp_path / "log")] == ["start", "end"]


def test_a_number_that_json_lacks_is_refused(tmp_path):
    with train.Log(tmp_path / "log") as log, pytest.raises(ValueError, match="not JSON compliant"):
        log.write("step", loss=math.nan)


def test_a_folder_that_cannot_be_made(corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(train.TrainError, match="expected a folder to write to"):
        train.run(trainer(corpus), tmp_path / "file" / "inside")
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(train.TrainError, match="the log cannot be written"):
        train.run(trainer(corpus), tmp_path)


def test_the_environment_is_plain_json():
    found = json.loads(json.dumps(environment()))
    assert found["blas_threads"] is None or found["blas_threads"] >= 1
    assert "blas" in found["blas"].lower() or "accelerate" in found["blas"].lower()


def test_the_log_says_how_many_threads_there_were(corpus, tmp_path):
    result = train.run(trainer(corpus, steps=1, threads=1), tmp_path)
    assert train.read_log(tmp_path / "log.jsonl")[0]["environment"] == result.environment
    assert result.environment["blas_threads"] == 1


def test_without_threadpoolctl_nothing_is_known_or_limited(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with limited_blas(1):
        assert environment()["blas_threads"] is None


# ── progress ─────────────────────────────────────────────────────────────────────────────────────
def records():
    return [
        train.Step(9, 3.0, 0.1, 1.0, 0.1),
        train.Step(10, 2.0, 0.1, 1.0, 0.1),
        train.Evaluation(10, 2.5, None, 100, 0.1),
    ]


def test_progress_without_a_terminal_is_plain_lines():
    file = io.StringIO()
    with train.Progress(100, file) as progress:
        for record in records():
            progress.show(record)
    assert file.getvalue() == "step  10 of 100   loss 2.950   held-out 2.500\n"


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    file = Terminal()
    with train.Progress(100, file) as progress:
        for record in records():
            progress.show(record)
    shown = file.getvalue()
    assert "10/100" in shown
    assert "2.500" in shown
    assert "━" in shown


def test_progress_without_rich_is_plain_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    file = io.StringIO()
    with train.Progress(10, file) as progress:
        progress.show(records()[-1])
    assert file.getvalue() == "step 10 of 10   loss –   held-out 2.500\n"
