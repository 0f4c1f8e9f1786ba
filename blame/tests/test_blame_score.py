"""Scores against values worked out by hand."""

import pytest

from lacewing_blame.attribution import Attribution, Suspect
from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Label, Trace
from lacewing_blame.scoring import baselines, confidence, score
from lacewing_blame.statistics import wilson


def run(id: str, agents: str, step: int | None) -> Trace:
    """A run of one-letter agents, with its label."""
    events = tuple(Event(at, agent, "says") for at, agent in enumerate(agents))
    label = None if step is None else Label(agents[step].upper(), step)
    return Trace(id, "task", events, "jsonl", label=label)


def answer(id: str, agent: str | None, order: list[tuple[int, float]]) -> Attribution:
    """A ranking by step and probability; the first is the step named."""
    ranking = tuple(Suspect(step, "x", p) for step, p in order)
    step = order[0][0] if order and agent else None
    return Attribution(id, "m", agent, step, agent is None, ranking)


RUNS = [run("1", "aba", 2), run("2", "aab", 1), run("3", "abc", 0), run("4", "ab", 1)]
ANSWERS = [
    answer("1", "a", [(2, 0.6), (0, 0.4)]),  # agent and step right
    answer("2", "A", [(0, 0.5), (1, 0.5)]),  # agent right, step one off, second place
    answer("3", "b", [(2, 0.9), (1, 0.1)]),  # both wrong, label unranked
    answer("4", None, [(1, 0.2)]),  # abstained
]


def test_score_by_hand() -> None:
    """Two agents, one step, one both; the label first, second, absent and first."""
    figures = score(RUNS, ANSWERS)

    assert 4 == figures["n"]
    assert tuple(figures[key]["accuracy"] for key in ("agent", "step", "joint")) == (
        0.5,
        0.25,
        0.25,
    )
    assert tuple(figures[key]["accuracy"] for key in ("top_3", "within_1", "within_3")) == (
        0.75,
        0.5,
        0.75,
    )
    assert (1 + 0.5 + 0 + 1) / 4 == figures["mrr"]
    assert (3, 1 / 3) == (figures["answered"]["n"], figures["answered"]["step"]["accuracy"])
    assert (0.4 + 0.5 + 0.9 + 0.2) / 4 == pytest.approx(figures["ece"])


def test_score_skips_unlabelled() -> None:
    """A run without a label does not count; without any label there is nothing to score."""
    bare = run("5", "ab", None)

    assert 4 == score([*RUNS, bare], [*ANSWERS, answer("5", "a", [(0, 1.0)])])["n"]
    with pytest.raises(DataError, match="no run has a label"):
        score([bare], [answer("5", "a", [(0, 1.0)])])


def test_score_wants_matching_answers() -> None:
    """Answers of other runs are refused."""
    with pytest.raises(DataError, match="not those of these runs"):
        score(RUNS, ANSWERS[::-1])


def test_substring_scorer_is_lenient_and_warned_about() -> None:
    """The released script takes 12 for 2; it runs only when asked for, with a warning."""
    trace = run("1", "a" * 13, 2)
    wrong = [answer("1", "A", [(12, 1.0)])]

    with pytest.warns(UserWarning, match="takes the step 12 for the label 2"):
        figures = score([trace], wrong, substring=True)
    assert (
        figures["step"]["accuracy"],
        figures["official_substring"]["step"]["accuracy"],
    ) == (0.0, 1.0)
    assert "official_substring" not in score([trace], wrong)


def test_methods_without_probabilities() -> None:
    """No calibration is claimed where every probability is 0; a bare step is a ranking of one."""
    figures = score([RUNS[0]], [Attribution("1", "m", "a", 2, False, ())])

    assert "ece" not in figures
    assert (1.0, 1.0) == (figures["mrr"], figures["top_3"]["accuracy"])
    assert 0.0 == confidence(Attribution("1", "m", "a", 2, False, ()))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_known_values(right: int, n: int, low: float, high: float) -> None:
    """Newcombe's (1998) example of 81 in 263, and the ends."""
    assert (low, high) == pytest.approx(wilson(right, n), abs=5e-5)


def test_baselines_by_hand() -> None:
    """Chance is one over the candidates; places and majorities are counted."""
    table = baselines(RUNS)

    assert (1 / 3 + 1 / 3 + 1 / 3 + 1 / 2) / 4 == pytest.approx(table["chance"]["step"])
    assert (1 / 2 + 1 / 2 + 1 / 3 + 1 / 2) / 4 == pytest.approx(table["chance"]["agent"])
    assert 0.5 == table["second agent step"]["step"]["accuracy"]
    assert 0.25 == table["first agent step"]["step"]["accuracy"]
    assert 0.5 == table["last agent step"]["step"]["accuracy"]
    assert tuple(
        table["majority of these labels"][key]["accuracy"] for key in ("agent", "step")
    ) == (0.75, 0.5)
