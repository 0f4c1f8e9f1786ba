"""Verbs of other packages: lacewing-blame as it is declared, and as it is missing."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from lacewing.cli import app, plugins
from lacewing.pages import svg

BLAME = Path(__file__).parents[2] / "blame"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def installed(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run lacewing beside lacewing-blame, whose entry points are those of its pyproject.toml."""
    declared = tomllib.loads((BLAME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = tmp_path / "site" / f"lacewing_blame-{declared['version']}.dist-info"
    folder.mkdir(parents=True)
    lines = [f"Name: {declared['name']}", f"Version: {declared['version']}"]
    (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines]) + "\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in listed.items())
        for group, listed in declared["entry-points"].items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(points))
    paths = f"{folder.parent}:{BLAME / 'src'}:{environment['PYTHONPATH']}"

    def execute(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m lacewing {command}"],
            env=environment | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    return execute


def write_log(path: Path, steps: int = 9) -> Path:
    """A short conversation of three named agents."""
    log = [{"name": f"agent{i % 3}", "content": f"step {i}"} for i in range(steps)]
    path.write_text(json.dumps(log), encoding="utf-8")
    return path


def test_installed_verb(installed: Run, tmp_path: Path) -> None:
    """Help lists the verb, it runs, and its errors are one line of lacewing's."""
    assert "blame" in installed("--help").stdout
    write_log(tmp_path / "log.json")
    done = installed("blame log.json --json")
    assert json.loads(done.stdout)["ranking"], done.stderr
    missing = installed("blame missing.json")
    assert (2, "") == (missing.returncode, missing.stdout)
    [line] = missing.stderr.strip().splitlines()
    assert line.startswith("lacewing: ")
    assert "missing.json cannot be read" in line


def test_a_reader_that_leaves_early_is_no_error(installed: Run, tmp_path: Path) -> None:
    """`lacewing ... | head -1`: the rest of the output is dropped without a traceback."""
    write_log(tmp_path / "log.json", 3000)
    done = installed("blame log.json --json | head -c 10")
    assert (0, "") == (done.returncode, done.stderr)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package adds a verb."""
    monkeypatch.setattr(plugins, "entry_points", lambda **_group: ())


@pytest.mark.usefixtures("missing")
def test_missing_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the package one line says how to get it, and help does not list the verb."""
    with pytest.raises(SystemExit) as stop:
        app.main(["blame", "log.json"])
    out, err = capsys.readouterr()
    assert (2, "") == (stop.value.code, out)
    assert "lacewing: blame is a package of its own: pip install lacewing-blame" == err.strip()
    with pytest.raises(SystemExit):
        app.main(["--help"])
    assert "blame" not in capsys.readouterr().out


def test_own_verbs_cannot_be_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package cannot put itself in the place of a verb of lacewing's."""

    class Other:
        name = "train"

        def load(self) -> None:
            raise AssertionError("loaded")

    monkeypatch.setattr(plugins, "entry_points", lambda **_group: (Other(),))
    with pytest.raises(SystemExit):
        app.main(["train", "--help"])
    assert "--twin-of" in capsys.readouterr().out


def test_broken_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package that cannot be loaded is told of, and lacewing's own verbs stay."""

    class Broken:
        name = "blame"

        def load(self) -> None:
            raise ImportError("no numpy")

    monkeypatch.setattr(plugins, "entry_points", lambda **_group: (Broken(),))
    assert {} == plugins.verbs(())
    assert "lacewing: blame cannot be loaded (ImportError: no numpy)" in capsys.readouterr().err


def test_same_colours_as_the_report() -> None:
    """The pages of lacewing-blame have the palette of the reports, light and dark."""
    style = (BLAME / "src" / "lacewing_blame" / "pages" / "assets" / "page.css").read_text(
        encoding="utf-8"
    )
    for palette in (svg.LIGHT, svg.DARK):
        assert ";".join(f"--{name}:{value}" for name, value in palette.items()) in style
