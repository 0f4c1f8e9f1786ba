"""The command `lacewing-blame`, as a user calls it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lacewing_blame import terminal
from lacewing_blame.cli import main
from scripted import Answer, Asked, in_turn, serving

BLAMING = "import sys\nfrom lacewing_blame.cli import main\nmain({words!r})\n"
Blame = Callable[..., tuple[str, str]]


def write_log(path: Path, number: int = 6, label: int = 3, **more: Any) -> Path:
    """A log of the kind an algorithm generates."""
    names = ("Coder", "Computer_terminal", "Checker")
    history = [
        {"name": names[i % 3], "role": "user", "content": f"word-{i}: I assume it is {i * 111}."}
        for i in range(number)
    ]
    log = {
        "question": "How many are there?",
        "question_ID": path.stem,
        "ground_truth": "41",
        "history": history,
        "mistake_agent": names[label % 3],
        "mistake_step": str(label),
        "mistake_reason": "the-secret-reason",
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(log), encoding="utf-8")
    return path


@pytest.fixture
def blame(capsys: pytest.CaptureFixture[str]) -> Blame:
    """Run the command; what it writes to standard output and to standard error."""

    def execute(*words: object) -> tuple[str, str]:
        capsys.readouterr()
        main(list(map(str, words)))
        return capsys.readouterr()

    return execute


@pytest.fixture
def blame_refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command with words that have to be refused; the one line it prints."""

    def execute(*words: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(list(map(str, words)))
        out, err = capsys.readouterr()
        assert (2, "") == (stop.value.code, out)
        [line] = err.strip().splitlines()
        assert line.startswith("lacewing-blame: ")
        return line

    return execute


def naming(asked: Asked, _number: int) -> Answer:
    """Always the same step."""
    return Answer('{"agent": "Coder", "step": 3, "reason": "It assumed.", "quote": "I assume it"}')


def test_ranker_as_json(blame: Blame, tmp_path: Path) -> None:
    """Without any model, --json gives agent, step, abstention and the ranking, and nothing else."""
    out, _ = blame(write_log(tmp_path / "a.json"), "--json")
    result = json.loads(out)
    assert "ranker" == result["method"]
    assert {"agent", "step", "abstained", "ranking"} <= result.keys()
    assert result["ranking"]
    for suspect in result["ranking"]:
        assert {"step", "agent", "probability", "evidence"} <= suspect.keys()
        for evidence in suspect["evidence"]:
            assert {"step", "start", "end", "reason", "weight", "text"} == evidence.keys()
    assert 1.0 == pytest.approx(sum(s["probability"] for s in result["ranking"]))


def test_ranker_for_people(blame: Blame, tmp_path: Path) -> None:
    """The table names suspects, quotes evidence, and speaks of no cause."""
    out, _ = blame(write_log(tmp_path / "a.json"), "--top", "2", "--abstain-below", "0")
    assert "a: 6 steps, whoandwhen" == out.splitlines()[0]
    assert out.splitlines()[1].startswith("suspected: ")
    assert "read off the log alone" in out
    assert "cause" not in out.casefold()
    rows = [line for line in out.splitlines()[3:] if line.split()[:1] and line.split()[0].isdigit()]
    assert 2 == len(rows)


def test_abstention(blame: Blame, tmp_path: Path) -> None:
    """Above a threshold nobody is named, and the ranking is still there."""
    log = write_log(tmp_path / "a.json", 9)
    result = json.loads(blame(log, "--abstain-below", "1.01", "--json")[0])
    assert (True, None, None) == (result["abstained"], result["agent"], result["step"])
    assert result["ranking"]
    out, _ = blame(log, "--abstain-below", "1.01")
    assert "nobody named: no step is likely enough" in out


def test_page_is_written(blame: Blame, tmp_path: Path) -> None:
    """--page writes the page and says where."""
    place = tmp_path / "out" / "a.html"
    out, _ = blame(write_log(tmp_path / "a.json"), "--page", place)
    assert f"page: {place}" in out
    assert "<!doctype html>" == place.read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("method", ["all-at-once", "step-by-step", "binary-search", "hybrid"])
def test_asking_an_endpoint(method: str, blame: Blame, tmp_path: Path) -> None:
    """Every method of the publication runs from the command line; its cost is in the result."""

    def script(asked: Asked, number: int) -> Answer:
        if "second half" in asked.user:
            return Answer('{"half": "second"}' if number == 0 else '{"half": "first"}')
        if "newest step" in asked.user:
            return Answer("yes" if "=====\nCoder: word-3" in asked.user else "no")
        return naming(asked, number)

    calls = {"all-at-once": 1, "step-by-step": 4, "binary-search": 3, "hybrid": 3}[method]
    with serving(script) as server:
        words = ["--method", method, "--endpoint", server.url, "--model", "m", "--no-cache"]
        result = json.loads(blame(write_log(tmp_path / "a.json"), *words, "--json")[0])
    assert ("Coder", 3, calls) == (result["agent"], result["step"], result["calls"])
    assert (calls, 10 * calls) == (len(server.asked), result["tokens"])
    assert not any("the-secret-reason" in q or "41" in q for q in server.questions())


def test_flags_reach_the_question(blame: Blame, tmp_path: Path) -> None:
    """Answer, numbers, guideline, samples, temperature and limit are what the model gets."""
    log = write_log(tmp_path / "a.json")
    with serving(naming) as server:
        words = ["--method", "all-at-once", "--endpoint", server.url, "--model", "m"]
        words += ["--with-answer", "--step-numbers", "--guideline", "--samples", "3"]
        words += ["--temperature", "0.7", "--max-tokens", "99", "--cache", tmp_path / "kept"]
        out, _ = blame(log, *words)
        assert 'It assumed.: "I assume it"' in out
        assert "3 questions, 30 tokens" in out
        blame(log, *words)
    assert 3 == len(server.asked)
    for asked in server.asked:
        assert (0.7, 99) == (asked.body["temperature"], asked.body["max_tokens"])
        assert "The right answer to it: 41" in asked.user
        assert "[step 3] Coder: word-3" in asked.user
        assert "How people decide" in asked.user


def test_score_with_an_endpoint(blame: Blame, tmp_path: Path) -> None:
    """A folder is scored against its labels; the cost and every log's ranking are kept."""
    for number in range(6):
        write_log(tmp_path / "logs" / f"{number}.json", label=3 if number < 4 else 0)
    with serving(naming) as server:
        words = ["--method", "all-at-once", "--endpoint", server.url, "--model", "m"]
        words += ["--cache", tmp_path / "kept", "--output", tmp_path / "all.json", "--json"]
        result = json.loads(blame("score", tmp_path / "logs", *words)[0])
    assert (6, 6) == (result["n"], result["calls"])
    assert 1.0 == pytest.approx(result["agent"]["accuracy"])
    assert 4 / 6 == pytest.approx(result["step"]["accuracy"])
    low, high = result["step"]["interval"]
    assert 0 < low < 4 / 6 < high < 1
    kept = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert [str(n) for n in range(6)] == [one["trace"] for one in kept]


def test_score_for_people(blame: Blame, tmp_path: Path) -> None:
    """The ranker's score is printed with its intervals."""
    for number in range(5):
        write_log(tmp_path / f"{number}.json")
    out, _ = blame("score", tmp_path)
    assert "ranker on 5 labelled logs, exact matching" == out.splitlines()[0]
    assert " step " in out
    assert "[" in out


def test_train_and_use(blame: Blame, tmp_path: Path) -> None:
    """Weights learned from a folder are used by the next call."""
    for number in range(20):
        write_log(tmp_path / "logs" / f"{number}.json", 6 + number % 3, 3 * (number % 2))
    place = tmp_path / "weights.json"
    out, _ = blame("train", tmp_path / "logs", "--output", place)
    assert f"{place}: weights learned from 20 logs" == out.strip()
    log = write_log(tmp_path / "a.json")
    own = json.loads(blame(log, "--weights", place, "--json")[0])
    shipped = json.loads(blame(log, "--json")[0])
    assert own["ranking"] != shipped["ranking"]


def test_score_in_folds(blame: Blame, tmp_path: Path) -> None:
    """--folds scores weights that saw no log of the same question, and says so."""
    for number in range(20):
        write_log(tmp_path / f"{number}.json", 6 + number % 3, 3 * (number % 2))
    out, _ = blame("score", tmp_path, "--folds", "4")
    assert "ranker on 20 labelled logs, exact matching, 4 folds" in out.splitlines()[0]
    first, second = (
        json.loads(blame("score", tmp_path, "--folds", "4", "--seed", "1", "--json")[0])
        for _ in range(2)
    )
    assert (4, 20) == (first["folds"], first["n"])
    assert first == second


def test_official_substring(blame: Blame, tmp_path: Path) -> None:
    """The paper's loose scorer counts 12 for the label 2, beside the exact figure and a warning."""
    for number in range(5):
        write_log(tmp_path / "logs" / f"{number}.json", 15, 2)
    with serving(in_turn('{"agent": "Checker", "step": 12}')) as server:
        words = ["--method", "all-at-once", "--endpoint", server.url, "--model", "m"]
        words += ["--no-cache", "--official-substring"]
        result = json.loads(blame("score", tmp_path / "logs", *words, "--json")[0])
        out, _ = blame("score", tmp_path / "logs", *words)
    assert 0.0 == result["step"]["accuracy"]
    assert 1.0 == result["official_substring"]["step"]["accuracy"]
    assert "WARNING: the paper's script, which takes 12 for 2" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "blame takes LOG, or score DIR, or train DIR; got nothing"),
        (["a.json", "b.json"], "got a.json b.json"),
        (["missing.json"], "cannot be read"),
        (["."], "is a folder"),
        (["score", "a.json"], "is no folder of logs"),
        (["score", ".", "--page", "x.html"], "--page does not go with blame of score"),
        (["train", "."], "add --output FILE"),
        (["a.json", "--folds", "3"], "--folds does not go with blame of one log"),
        (["score", ".", "--folds", "1"], "--folds must be at least 2"),
        (["score", ".", "--folds", "2", "--method", "hybrid"], "goes with --method ranker"),
        (["a.json", "--official-substring"], "--official-substring does not go with"),
        (["a.json", "--output", "x"], "--output does not go with blame of one log"),
        (["a.json", "--method", "hybrid"], "--method hybrid asks a model: add --endpoint URL"),
        (["a.json", "--endpoint", "http://h/v1"], "--endpoint does nothing with --method ranker"),
        (["a.json", "--method", "hybrid", "--abstain-below", "0.5"], "goes with ranker and rerank"),
        (["a.json", "--weights", "missing.json"], "missing.json"),
        (["a.json", "--format", "nonsense"], "nonsense"),
    ],
)
def test_mistakes(
    words: list[str],
    said: str,
    blame_refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mistake of the user's is one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "a.json")
    assert said in blame_refused(*words)


def test_refused_key(blame_refused: Callable[..., str], tmp_path: Path) -> None:
    """What goes wrong at the endpoint is one line, too."""
    with serving(in_turn(Answer("bad key", 401))) as server:
        words = ["--method", "all-at-once", "--endpoint", server.url, "--model", "m", "--no-cache"]
        assert "refuses the key: 401" in blame_refused(write_log(tmp_path / "a.json"), *words)


def test_terminal_is_not_steered(blame: Blame, tmp_path: Path) -> None:
    """Escape sequences and line breaks of a log do not reach the terminal."""
    evil = "\x1b[2J\x1b]0;owned\x07 I assume\r\n\u202eit"
    log = write_log(tmp_path / "a.json")
    content = json.loads(log.read_text())
    content["history"] = [{"name": f"Co{evil}der", "role": "user", "content": evil}] * 3
    content |= {"mistake_agent": f"Co{evil}der", "mistake_step": "0"}
    log.write_text(json.dumps(content))
    out, _ = blame(log, "--abstain-below", "0")
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(out)
    assert terminal.plain("a\n b\x1b\tc") == "a b c"


def test_starts_light(tmp_path: Path, program: Callable[[Sequence[str]], str]) -> None:
    """Blaming a log loads no heavy library and nothing of lacewing; --help not even numpy."""
    log, file = str(write_log(tmp_path / "a.json")), str(tmp_path / "a.html")
    show = "print(sorted({'torch', 'numba', 'scipy', 'lacewing', 'httpx'} & sys.modules.keys()))"
    ran = program(["-c", BLAMING.format(words=[log, "--page", file]) + show])
    assert "[]" == ran.splitlines()[-1]
    show = "print(sorted({'numpy', 'jinja2', 'httpx'} & sys.modules.keys()))"
    loaded = program(["-c", "import sys\nimport lacewing_blame.command\n" + show])
    assert "[]" == loaded.strip()


def test_other_runs_of_the_task_move_the_ranking(blame: Blame, tmp_path: Path) -> None:
    """Of two tools that three runs call, the one of failed runs only gains on the other."""
    for name, tools, succeeded in (
        ("f1", "axz", False),
        ("f2", "ax", False),
        ("f3", "ax", False),
        ("p1", "az", True),
        ("p2", "az", True),
    ):
        lines = [{"task": "count", "succeeded": succeeded}]
        lines += [
            {"agent": "worker", "kind": "tool_call", "tool": t, "text": f"call {t}"} for t in tools
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")

    def odds(*words: object) -> float:
        found = json.loads(blame(tmp_path / "f1.jsonl", "--json", *words)[0])
        chance = {s["step"]: s["probability"] for s in found["ranking"]}
        return chance[1] / chance[2]

    assert odds("--guess", "--runs", tmp_path) == pytest.approx(3 * odds("--guess"))


def test_runs_without_outcomes_are_refused(
    blame_refused: Callable[..., str], tmp_path: Path
) -> None:
    """A spectrum of runs of which nobody knows how they ended says nothing."""
    logs = [write_log(tmp_path / f"{i}.json") for i in range(5)]
    assert "does not say how it ended" in blame_refused(logs[0], "--runs", tmp_path)
