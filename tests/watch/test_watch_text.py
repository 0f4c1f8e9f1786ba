"""`lacewing watch --text` and `--fit`, as a user calls them."""

import json
from pathlib import Path

import pytest

import micro
from lacewing.cli.app import main
from lacewing.errors import ArtifactError
from lacewing.watch.live import watch_text
from lacewing.watch.monitor import Monitor
from watch.live_text import LINES, changed, known, lines, planted
from watch.test_monitor import cut


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run, its circuit, a changed copy of it, and text."""
    root = tmp_path_factory.mktemp("watch")
    model = micro.micro()
    source = str(micro.write_run(model, root / "run"))
    circuit = planted(model)
    object.__setattr__(circuit, "model_source", source)
    circuit.save(root / "circuit")
    micro.write_run(changed(cut), root / "changed")
    for name, count, seed in (("fit", LINES, 1), ("text", 600, 2)):
        (root / name).mkdir()
        for number, line in enumerate(lines(count, seed)):
            (root / name / f"{number:05d}").write_text(line)
    return root


def run(*words: object) -> int:
    """The exit status of a command."""
    try:
        main(["watch", *map(str, words)])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_fit_and_watch(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reference, clean text, and the same text read by a copy that lost a weight."""
    given = ("--circuit", place / "circuit")
    assert run(*given, "--fit", place / "fit", "--output", place / "ref") == 0
    assert "first_letter" in capsys.readouterr().out
    given = (*given, "--reference", place / "ref", "--text", place / "text", "--json")
    assert run(*given) == 0
    shown, _, plain = capsys.readouterr().out.strip().rpartition("\n")
    assert "no alarm" in shown
    assert json.loads(plain)["circuits"][0]["places"] == 600
    told = place / "alarms.jsonl"
    assert run(*given, "--after", place / "changed", "--alarms", told) == 3
    shown, _, plain = capsys.readouterr().out.strip().rpartition("\n")
    assert "the model has changed (circuit first_letter" in shown
    assert "0.attn_in.1 -> 0.attn_v.0" in shown
    alarms = [json.loads(line) for line in told.read_text().splitlines()]
    assert alarms == json.loads(plain)["alarms"]
    assert {alarm["seen_by"] for alarm in alarms} == {"probe", "text"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "nothing to watch: give --text TEXT"),
        (("--fit", "x"), "--fit needs --output"),
        (("--output", "x"), "give --fit TEXT too"),
        (("--fit", "x", "--output", "y", "--text", "z"), "and nothing else"),
        (("--text", "missing"), "no text at missing"),
        (("--text", "missing", "--reference", "none"), "no watch reference at none"),
        (("--text", "-", "--run-length", "5"), "at least 1,024"),
    ],
)
def test_mistakes_are_one_line(
    place: Path, words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wrong, and what to do."""
    if "missing" in words and "--reference" not in words:
        words = (*words, "--reference", str(place / "ref"))
    assert run("--circuit", place / "circuit", *words) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert line in told


@pytest.mark.parametrize(("copy", "status"), [("run", 2), ("changed", 3)])
def test_a_damaged_log_is_watched_to_the_damage(
    place: Path, copy: str, status: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One line on standard error, the summary, the last probe; a changed model counts for more."""
    good = "\n".join(lines(400, 2)).encode() + b"\n"
    (tmp_path / "log").write_bytes(good + b"Xk\0\0\0 and more\n" * 9)
    known()[2].save(tmp_path / "usual")
    given = ("--circuit", place / "circuit", "--reference", tmp_path / "usual")
    given = (*given, "--after", place / copy)
    assert run(*given, "--text", tmp_path / "log", "--json") == status
    shown, told = capsys.readouterr()
    result = json.loads(shown.strip().rpartition("\n")[2])
    assert 300 < result["circuits"][0]["places"] <= 400
    assert result["tokens"] == len(good) + 2
    assert result["circuits"][0]["probe"]["changed"] == (copy == "changed")
    (line,) = [line for line in told.splitlines() if "NUL" in line]
    assert f"{tmp_path / 'log'} was read to where it is no text" in line


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """Where alarms cannot be written, the watch ends and says so."""
    model, circuit, reference = known()
    monitor = Monitor(model, [circuit], reference, after=changed(cut), quiet=True)
    (tmp_path / "text").write_text("".join(lines(100, 2)))
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(ArtifactError, match="disk full while writing /dev/full"):
        watch_text(monitor, str(tmp_path / "text"), alarms=full, quiet=True)


def test_interrupted_it_says_what_it_has_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of what it has not."""
    model, circuit, reference = known()
    monitor = Monitor(model, [circuit], reference, quiet=True)
    steps = monitor.step

    def stopped(tokens: list[int], *, ends: bool = False) -> list[object]:
        if monitor.tokens > 1000:
            raise KeyboardInterrupt
        return list(steps(tokens, ends=ends))

    monkeypatch.setattr(monitor, "step", stopped)
    for number in range(4):
        (tmp_path / str(number)).write_text("".join(lines(100, number)))
    result = watch_text(monitor, str(tmp_path), quiet=True)
    assert result["interrupted"]
    assert 1000 < result["tokens"] < 3000
