"""The ranker: learning, weights on disk, evidence, abstention, calibration, the control."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lacewing_blame.errors import ArtifactError, DataError
from lacewing_blame.events import Event, Label, Trace
from lacewing_blame.ranker import logit
from lacewing_blame.ranker.calibrate import (
    abstention,
    expected_calibration_error,
    reliability,
    softmax,
    temperature,
)
from lacewing_blame.ranker.crossval import (
    cross_validate,
    learning_curve,
    shuffled_labels,
    source,
    transfer,
)
from lacewing_blame.ranker.folds import folds
from lacewing_blame.ranker.meanings import MEANINGS
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.ranker.train import train_ranker
from lacewing_blame.ranker.weights import Ranker
from lacewing_blame.scoring import score
from lacewing_blame.signals.meanings import SIGNALS

FAULTS = (
    "I assume a hypothetical value of {n}, simulated as placeholder data, and go on with it now.",
    "The tool is unavailable, so I work manually with a placeholder {n} that I assume right.",
)
CLEAN = (
    "The table was loaded from the file and holds the rows that were asked for by the others.",
    "Reading the next column of the same table, with all of its rows, and passing it on to you.",
    "Here are the rows of the second column, in the order in which the file itself holds them.",
)


def faulty(seed: int, steps: int = 7) -> Trace:
    """A run with one injected fault, at a step drawn at random."""
    deal = np.random.default_rng(seed)
    fault = int(deal.integers(1, steps - 1))
    events = []
    for step in range(steps):
        text = CLEAN[int(deal.integers(len(CLEAN)))]
        if step == fault:
            text = FAULTS[int(deal.integers(len(FAULTS)))].format(n=seed + 1000)
        events.append(Event(step, f"agent{step % 3}", text))
    label = Label(events[fault].agent, fault)
    return Trace(f"r{seed}", "Sum the table", tuple(events), "jsonl", group=f"q{seed}", label=label)


RUNS = [faulty(seed) for seed in range(40)]


def right(traces: Sequence[Trace], ranker: Ranker | None = None) -> float:
    """Share of runs whose fault is found."""
    found = [rank(trace, ranker).step for trace in traces]
    return float(np.mean([s == t.label.step for s, t in zip(found, traces, strict=True)]))


def test_injected_fault_is_found() -> None:
    """Learned from twenty synthetic runs, the ranker finds the fault in the other twenty."""
    assert right(RUNS[20:], train_ranker(RUNS[:20])) >= 0.9


def test_shipped_weights_find_injected_faults() -> None:
    """The shipped weights have never seen these runs and find most faults."""
    assert right(RUNS) >= 0.6


def test_shuffled_labels_teach_nothing() -> None:
    """With labels drawn at random, cross-validation falls to chance."""
    shares, chance = [], []
    for seed in range(4):
        shuffled = shuffled_labels(RUNS, seed)
        figures = score(shuffled, cross_validate(shuffled, 4, seed))
        shares.append(figures["step"]["accuracy"])
        chance.append(figures["baselines"]["chance"]["step"])

    assert np.mean(chance) == pytest.approx(1 / 7)
    assert np.mean(shares) < 0.25


def test_answer_of_the_ranker() -> None:
    """Probabilities sum to one, agents are their sums, the step is the named agent's best."""
    found = rank(RUNS[0])
    sums = dict.fromkeys(found.agents, 0.0)
    for suspect in found.ranking:
        sums[suspect.agent] += suspect.probability

    assert 1.0 == pytest.approx(sum(found.agents.values()))
    assert sums == pytest.approx(dict(found.agents))
    assert found.agent == max(sums, key=sums.__getitem__)
    assert found.step == next(s.step for s in found.ranking if s.agent == found.agent)
    assert "cause" not in found.reason


def test_evidence_stands_in_the_text() -> None:
    """Evidence of the fault marks the very words, with reasons that are known."""
    trace = RUNS[0]
    ranking = rank(trace).ranking
    fault = next(s for s in ranking if s.step == trace.label.step)
    marked = {trace.events[e.step].text[e.start : e.end].lower() for e in fault.evidence}

    assert marked & {"assume", "hypothetical", "placeholder", "simulated", "manually"}
    for suspect in ranking:
        for piece in suspect.evidence:
            assert 0 <= piece.start <= piece.end <= len(trace.events[piece.step].text)
            assert piece.reason in {meaning.words for meaning in MEANINGS.values()}


def test_evidence_of_any_system_stands_in_the_text() -> None:
    """Signals, too, mark spans of their own step, in words that are known."""
    said = {one.words for one in SIGNALS.values()} | {one.against for one in SIGNALS.values()}
    alone = replace(RUNS[0], events=tuple(replace(e, agent="agent") for e in RUNS[0].events))
    found = rank(alone, guess=True)

    assert found.ranking[0].evidence
    for suspect in found.ranking:
        for piece in suspect.evidence:
            assert 0 <= piece.start <= piece.end <= len(alone.events[piece.step].text)
            assert piece.reason in said - {""}


def test_training_adapts_the_general_weights() -> None:
    """Runs of a system that the weights do not know teach them where its faults are."""
    other = [
        replace(run, events=tuple(replace(e, agent="agent") for e in run.events)) for run in RUNS
    ]
    labelled = [replace(run, label=Label("agent", run.label.step)) for run in other]
    adapted = train_ranker(labelled[:20], base=Ranker.shipped())

    assert right(labelled[20:], adapted) >= 0.7
    assert adapted.flat == Ranker.shipped().flat


def test_one_system_counts_as_much_as_another() -> None:
    """Forty runs of one system do not outweigh eight of another."""
    deal = np.random.default_rng(0)
    big = [deal.normal(size=(5, 2)) for _ in range(40)]
    small = [deal.normal(size=(5, 2)) for _ in range(8)]
    chosen = [int(run[:, 0].argmax()) for run in big] + [int(run[:, 1].argmax()) for run in small]
    runs = [run.tolist() for run in big + small]
    same = logit.fit(runs, chosen, [0, 0], 5.0)
    even = logit.fit(runs, chosen, [0, 0], 5.0, shares=[1 / 40] * 40 + [1 / 8] * 8)

    assert same[0] > 2 * same[1]
    assert even[0] < 1.5 * even[1]


def test_abstains_below() -> None:
    """Below the threshold nobody is named, and the ranking stays."""
    silent = rank(RUNS[0], abstain_below=1.01)

    assert (True, None, None) == (silent.abstained, silent.agent, silent.step)
    assert 7 == len(silent.ranking)
    assert not rank(RUNS[0], abstain_below=0.0).abstained


def test_weights_on_disk(tmp_path: Path) -> None:
    """Saved weights rank as before, to the last digit."""
    ranker = train_ranker(RUNS, {"data": "synthetic"})
    ranker.save(tmp_path / "w.json")
    loaded = Ranker.load(tmp_path / "w.json")

    assert rank(RUNS[0], ranker) == rank(RUNS[0], loaded)
    assert "synthetic" == loaded.provenance["data"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "holds no weights"),
        ({"flat": {}}, "is damaged"),
        ({"flat": {"weights": {"zodiac": 1}, "temperature": 1, "runs": 1}}, "does not know"),
        ({"general": {"weights": {"zodiac": 1}, "temperature": 1, "runs": 1}}, "does not know"),
        ({"format": "lacewing-blame-ranker-1"}, "older version"),
        ({"flat": {"weights": {}, "temperature": 0, "runs": 1}}, "is damaged"),
        ({"flat": {"weights": {"code": float("nan")}, "temperature": 1, "runs": 1}}, "is damaged"),
    ],
)
def test_bad_weights(tmp_path: Path, change: dict, words: str) -> None:
    """Foreign, damaged and newer weights are refused in one line."""
    Ranker.shipped().save(tmp_path / "w.json")
    saved = json.loads((tmp_path / "w.json").read_text())
    (tmp_path / "w.json").write_text(json.dumps({**saved, **change}))

    with pytest.raises(ArtifactError, match=words):
        Ranker.load(tmp_path / "w.json")


def test_shipped_weights_say_where_from() -> None:
    """The weights that ship carry their data, command and ridge, and keep every sign."""
    shipped = Ranker.shipped()

    assert {"data", "command", "ridge", "labels_sha256"} <= set(shipped.provenance)
    assert (shipped.flat.runs, shipped.coordinated.runs) == (
        82,
        39,
    )  # one label is a terminal's, one agent is alone
    for weights, known in (
        (shipped.flat, MEANINGS),
        (shipped.coordinated, MEANINGS),
        (shipped.general, SIGNALS),
    ):
        for name, weight in weights.weights.items():
            assert weight * known[name].sign >= 0


def test_too_few_labels() -> None:
    """Fewer than five labelled runs teach nothing; runs without labels do not count."""
    bare = [replace(trace, label=None) for trace in RUNS]

    with pytest.raises(DataError, match="4 of 40 runs can be learned from"):
        train_ranker(RUNS[:4] + bare[4:])


def test_folds_keep_questions_apart() -> None:
    """Runs of one question are on one side, and every run is held out once."""
    groups = ["a", "b", "a", "c", "d", "b", "e"]
    held = []
    for inside, out in folds(groups, 3, seed=1):
        held += out
        assert not {groups[at] for at in inside} & {groups[at] for at in out}

    assert list(range(7)) == sorted(held)


def test_learning_curve_and_transfer() -> None:
    """More runs do not hurt, and what is learned carries over to other runs."""
    curve = learning_curve(RUNS, [8, 25], 4)
    few, many = (score(RUNS, curve[size])["step"]["accuracy"] for size in (8, 25))
    carried = score(RUNS[20:], transfer(RUNS[:20], RUNS[20:]))["step"]["accuracy"]

    assert many >= few - 0.1
    assert carried >= 0.9


def test_sources_by_length() -> None:
    """A UUID is GAIA's, a long hash AssistantBench's."""
    assert "GAIA" == source(replace(RUNS[0], group="c" * 36))
    assert "AssistantBench" == source(replace(RUNS[0], group="c" * 64))


def test_logit_against_plain_descent() -> None:
    """The Newton fit agrees with many small gradient steps on the same objective."""
    deal = np.random.default_rng(0)
    tables = [deal.normal(size=(int(deal.integers(3, 7)), 3)) for _ in range(30)]
    runs = [table.tolist() for table in tables]
    chosen = [int(deal.integers(len(run))) for run in runs]
    scale = np.concatenate(tables).std(0)
    slow = np.zeros(3)
    for _ in range(4000):
        gradient = 2.0 * slow
        for table, row in zip(tables, chosen, strict=True):
            x = table / scale
            gradient += x.T @ np.array(softmax((x @ slow).tolist())) - x[row]
        slow -= 0.01 * gradient

    assert slow / scale == pytest.approx(logit.fit(runs, chosen, [0, 0, 0], 2.0), abs=1e-4)


def test_logit_signs_and_prior() -> None:
    """A weight stays on its side; without data in a column the prior remains."""
    deal = np.random.default_rng(1)
    tables = [np.column_stack([deal.normal(size=4), np.zeros(4)]) for _ in range(20)]
    runs = [table.tolist() for table in tables]
    chosen = [int(table[:, 0].argmin()) for table in tables]
    weights = logit.fit(runs, chosen, [1, 0], 1.0, {1: -2.0})

    assert [0.0, -2.0] == pytest.approx(list(weights))
    assert logit.fit(runs, chosen, [0, 0], 1.0)[0] < -1


def test_calibration_by_hand() -> None:
    """Two bins: 0.25 promised and 0.5 come true, 0.9 promised and 1 come true."""
    sure, hit = [0.2, 0.3, 0.9, 0.9], [True, False, True, True]
    table = reliability(sure, hit, bins=2)

    assert [(row["n"], row["promised"], row["correct"]) for row in table] == [
        (2, 0.25, 0.5),
        (2, 0.9, 1.0),
    ]
    assert 0.5 * 0.25 + 0.5 * 0.1 == pytest.approx(expected_calibration_error(sure, hit, 2))
    assert 0.0 == expected_calibration_error([], [])


def test_abstention_by_hand() -> None:
    """Half of four runs, the surest, are both right."""
    curve = abstention([0.2, 0.3, 0.9, 0.8], [False, True, True, True])

    assert {"coverage": 0.5, "accuracy": 1.0} == curve[4]
    assert {"coverage": 1.0, "accuracy": 0.75} == curve[9]


def test_temperature_restores_scale() -> None:
    """Scores five times too large are found to be so."""
    deal = np.random.default_rng(2)
    scores = [deal.normal(size=5).tolist() for _ in range(600)]
    chosen = [int(deal.choice(5, p=softmax(s))) for s in scores]
    doubled = [[2 * value for value in s] for s in scores]

    assert 1.0 == pytest.approx(temperature(scores, chosen), rel=0.25)
    assert 2.0 == pytest.approx(temperature(doubled, chosen), rel=0.25)
    assert 1.0 == temperature([], [])
