"""What leaves the program: streams that fail, text from outside, faults, Ctrl-C, bad flags."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import micro
from lacewing import progress
from lacewing.cli import app, streams
from lacewing.cli.models import Models
from lacewing.progress import printable, say

Environment = dict[str, str]
NASTY = "evil\x1b]0;owned\x07\x1b[2J\u202etxt"


class Broken(io.StringIO):
    """A stream whose reader is gone, or whose disk is full."""

    def __init__(self, error: Exception, terminal: bool = False) -> None:
        super().__init__()
        self.error, self.terminal = error, terminal

    def write(self, text: str) -> int:
        """Refuse it."""
        raise self.error

    def isatty(self) -> bool:
        """Whether it was a terminal."""
        return self.terminal


def ended(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status and the one line of a command that fails."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        app.main(words)
    out, err = capsys.readouterr()
    assert "" == out
    (line,) = err.strip().splitlines()
    return int(str(stop.value.code)), line


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "lacewing", *words]


def test_help_and_results_into_head(environment: Environment) -> None:
    """The reader goes after a line: no traceback, and the status of the work."""
    for words in (["--help"], ["models"], ["models", "--json"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            command(*words), stdout=write, stderr=subprocess.PIPE, env=environment, check=False
        )
        os.close(write)
        assert (0, b"") == (done.returncode, done.stderr), words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_a_full_disk_under_standard_output(environment: Environment) -> None:
    """One line, and status 1."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("models"), stdout=full, stderr=subprocess.PIPE, env=environment, check=False
        )
    assert 1 == done.returncode
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("lacewing: standard output cannot be written (No space left")


def test_streams_that_are_closed_from_the_start(environment: Environment) -> None:
    """No output is wanted, and none is given."""
    shell = f"{sys.executable} -m lacewing models >&- 2>&-"
    assert 0 == subprocess.run(["/bin/sh", "-c", shell], env=environment, check=False).returncode


def test_ascii(environment: Environment) -> None:
    """What the terminal cannot show is written as its number."""
    told = environment | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    code = "from lacewing.cli import streams as s; s.prepare(); s.tell('a\\u2192b'); "
    code += "s.complain('\\u00e9')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=told, check=True, text=True
    )
    assert ("a\\u2192b\n", "\\xe9\n") == (done.stdout, done.stderr)


def test_work_outlives_who_reads_its_progress(environment: Environment, tmp_path: Path) -> None:
    """Standard error's reader is gone: the pruning goes on, and its circuit is kept."""
    run = str(micro.write_run(micro.micro(), tmp_path / "run"))
    task, circuit = str(micro.write_pairs(tmp_path / "letters.jsonl")), tmp_path / "circuit"
    words = ["prune", "--model", run, "--task", task, "--output", str(circuit)]
    words += ["--target-loss", str(micro.TARGET), "--prompts", "512", "--batch", "16"]
    read, write = os.pipe()
    os.close(read)
    code = "from lacewing import cli, progress; progress.QUIET_SECONDS = 0.0; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=write,
        env=environment,
        check=False,
    )
    os.close(write)
    assert 0 == done.returncode
    assert b" nodes, " in done.stdout
    assert (circuit / "manifest.json").is_file()


@pytest.mark.parametrize("error", [BrokenPipeError(32, "gone"), OSError(28, "full"), ValueError()])
@pytest.mark.parametrize("terminal", [True, False])
def test_progress_into_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception, terminal: bool
) -> None:
    """Nothing is said, and nothing is raised; also where there never was a stream."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    for stream in (Broken(error, terminal), None):
        monkeypatch.setattr(sys, "stderr", stream)
        say("a line")
        with progress.progress("work", 3, "steps") as bar:
            for step in range(4):
                bar.update(step, "note")
        assert progress._Bar.bars is None


def test_text_from_outside_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In results, errors and progress; names of folders, tasks and circuits are shown as text."""
    assert "evil\\x1b]0;owned\\x07\\x1b[2J\\u202etxt" == printable(NASTY)
    model = micro.micro()
    run = micro.write_run(model, tmp_path / "run")
    circuit = micro.make(model, {}, model_source=str(run), task=NASTY)
    circuit.save(tmp_path / NASTY)
    app.main(["verify", "--quick", "--circuit", str(tmp_path / NASTY)])
    out, err = capsys.readouterr()
    assert "evil\\x1b]0;" in out
    status, line = ended(["verify", "--circuit", str(tmp_path / f"no {NASTY}")], capsys)
    assert 2 == status
    with progress.progress(NASTY, 1) as bar:
        bar.update(1, NASTY)
    shown = out + err + line + capsys.readouterr().err
    assert [sign for sign in "\x1b\x07\u202e" if sign in shown] == []


def test_secrets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the environment and passwords in addresses are left out of all that is printed."""
    monkeypatch.setenv("SOME_API_KEY", "sk-0123456789")
    streams.complain("the endpoint said: bad key sk-0123456789 at https://ann:secret@host/x")
    streams.tell("sk-0123456789")
    out, err = capsys.readouterr()
    assert "sk-0123456789" not in out + err
    assert "ann" not in err
    assert "SOME_API_KEY left out" in err


@pytest.mark.parametrize("verb", ["train", "models"])
def test_ctrl_c(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """One line; that the same command goes on is said of verbs of which it is true."""

    def stop(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app.VERBS[verb], "run", stop)
    words = ["train", "--output", "x"] if verb == "train" else ["models"]
    status, line = ended(words, capsys)
    assert 130 == status
    assert (verb == "train") == line.endswith("; the same command goes on from here")
    assert line.startswith("lacewing: interrupted")


def test_faults_of_our_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line that names a file with the traceback; --debug shows it instead."""

    class Panic(BaseException):
        """What Rust's libraries raise."""

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for error in (KeyError("x\x1b"), RecursionError("deep"), Panic("rust")):

        def fail(self: Any, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(Models, "run", fail)
        status, line = ended(["models"], capsys)
        assert 1 == status
        assert line.startswith(f"lacewing: internal error ({type(error).__name__}: ")
        assert "\x1b" not in line
        file = Path(line.rpartition(" with ")[2])
        assert "Traceback" in file.read_text()
        with pytest.raises(type(error)):
            app.main(["--debug", "models"])


def test_what_the_system_refuses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file and the reason, as a mistake that the user can mend; memory too."""

    def fail(self: Any) -> None:
        raise PermissionError(13, "Permission denied", "/some/file")

    monkeypatch.setattr(Models, "run", fail)
    assert (2, "lacewing: /some/file: Permission denied") == ended(["models"], capsys)
    monkeypatch.setattr(Models, "run", lambda self: [0] * 10**15)
    assert ended(["models"], capsys)[1].startswith("lacewing: not enough memory")


LONG = "1" + "0" * 5000
SIDES = ["--sparse", "a", "--dense", "b", "--output", "o"]
TRAIN, PRUNE = ["train", "--output", "o"], ["prune", "--model", "m", "--task", "t", "--output", "o"]
FLAGS: list[tuple[list[str], str]] = [
    (["view", "--port", "65536"], "--port must be at most 65,535, not 65536"),
    (["view", "--port", "-1"], "--port must be at least 0, not -1"),
    ([*TRAIN, "--n-layer", "10000000"], "--n-layer must be at most 1,024, not 10000000"),
    ([*TRAIN, "--learning-rate", "nan"], "--learning-rate must be a finite number, not nan"),
    ([*TRAIN, "--learning-rate", "-1"], "--learning-rate must lie in (0, 1e+06], not -1.0"),
    ([*TRAIN, "--warmup", "inf"], "--warmup must be a finite number, not inf"),
    ([*TRAIN, "--beta1", "1"], "--beta1 must lie in [0, 1), not 1.0"),
    ([*TRAIN, "--batch", "-3"], "--batch must be at least 1, not -3"),
    ([*TRAIN, "--keep", "0.5", "2"], "--keep must lie in (0, 1), not 2.0"),
    ([*TRAIN, "--seed", "-1"], "--seed must be at least 0, not -1"),
    ([*TRAIN, "--seed", LONG], "Exceeds the limit"),
    ([*TRAIN, "--tokens", LONG[:4000]], "not a number of 4000 digits"),
    ([*TRAIN, "--corpus", "c" * 5000], "--corpus must have at most 4,096 characters, not 'ccc"),
    (["train", "--output", "o" * 300], "--output must have no part of more than 255 bytes, not 'o"),
    (["train", "--output", "a\0b"], "--output must hold no NUL character"),
    ([*PRUNE, "--test-pairs", "0"], "--test-pairs must be at least 1, not 0"),
    ([*PRUNE, "--temperature", "0"], "--temperature must lie in (0, 1e+06], not 0.0"),
    ([*PRUNE, "--batch", "two"], "--batch: invalid literal for int() with base 10: 'two'; it is "),
    ([*PRUNE, "--task", "x" * 5000, "--batch", "1"], "prune takes one --task"),
    (["prune", "--model", "m" * 300, "--task", "t", "--output", "o"], "--model must have no part"),
    (["tasks", "--pairs", "-4"], "--pairs must be at least 1, not -4"),
    (["tasks", "--max-tokens", "0"], "--max-tokens must be at least 1, not 0"),
    (["verify", "--circuit", "c", "--seeds", "9999"], "--seeds must be at most 1,000, not 9999"),
    (["attack", "--circuit", "c", "--budget", "0"], "--budget must be at least 1, not 0"),
    (["program", "--circuit", "c", "--pairs", "-1"], "--pairs must be at least 0, not -1"),
    (["sweep", "--output", "o", "--processes", "-1"], "--processes must be at least 0, not -1"),
    (["sweep", "--output", "o", "--training.batch", "0"], "--training.batch must be at least 1"),
    (["sweep", "--output", "o", "--widths", "0"], "--widths must be at least 1, not 0"),
    (
        ["compare", *["--sparse", "a", "--dense", "b", "--output", "o", "--seeds", "-1"]],
        "--seeds must be at least",
    ),
    ([*TRAIN, "--nonsense", "4"], "Unrecognized options: --nonsense"),
    (["prune", "--model", "m", "--task", "t"], "--output PATH"),
    ([], "Expected one of {corpus, train, models"),
]


@pytest.mark.parametrize(("words", "told"), FLAGS)
def test_flags_out_of_bounds(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    told: str,
) -> None:
    """One line: the flag, what is allowed, what arrived; nothing is made."""
    monkeypatch.chdir(tmp_path)
    status, line = ended(words, capsys)
    assert 2 == status
    assert line.startswith("lacewing: ")
    assert told in line, line
    assert len(line) < 1600
    assert [] == list(tmp_path.iterdir())


def test_help_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """As before, on standard output, with status 0."""
    with pytest.raises(SystemExit) as stop:
        app.main(["prune", "--help"])
    assert 0 == stop.value.code
    out, err = capsys.readouterr()
    assert "--test-pairs INT" in out
    assert "" == err


def test_json_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the result holds, one line that a program can read."""
    app.main(["models", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["models"]
