"""What must not stand in the source: what runs code out of files, unpacks archives, trusts text."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "src", ROOT / "blame" / "src")
NEVER = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "makes code of text",
    "__import__": "loads what a text names",
    "extract": "unpacks an archive to the disk",
    "extractall": "unpacks an archive to the disk",
    "unpack_archive": "unpacks an archive to the disk",
    "mktemp": "names a file that another may make first",
    "resolve": "raises where links lead in a circle: artifacts.real",
}
"""Names of functions that nothing calls."""
BUILTIN = {"eval", "exec", "compile", "__import__"}
"""Of these, methods of the same name are others: network.eval, re.compile."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the source, with the file and line it stands on."""
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_nothing_runs_or_unpacks() -> None:
    """No call of a function that runs text or writes an archive's files to the disk."""
    found = []
    for place, call in calls():
        whole = ast.unparse(call.func)
        name = whole.rpartition(".")[2]
        if name in NEVER and not (name in BUILTIN and "." in whole):
            found.append(f"{place}: {whole} {NEVER[name]}")
    assert found == []


def test_no_argument_opens_a_door() -> None:
    """None of the arguments by which safe functions become unsafe."""
    doors = {"shell": True, "allow_pickle": True, "autoescape": False, "weights_only": False}
    doors |= {"trust_remote_code": True, "verify": False, "follow_symlinks": True}
    found = [
        f"{place}: {keyword.arg}={keyword.value.value}"
        for place, call in calls()
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant)
        and keyword.arg in doors
        and keyword.value.value is doors[keyword.arg]
    ]
    assert found == []


@pytest.mark.long
def test_bandit() -> None:
    """The rules of bandit that pyproject.toml chooses."""
    command = [sys.executable, "-m", "bandit", "-q", "-c", "pyproject.toml", "-f", "txt", "-r"]
    folders = [str(source.relative_to(ROOT)) for source in SOURCES]
    done = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_bandit_would_tell(tmp_path: Path) -> None:
    """The rules are on: each of these lines is found."""
    lines = (
        "import pickle; pickle.loads(b'')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "import yaml; yaml.load('')",
        "import torch; torch.load('x')",
        "exec('1')",
        "eval('1')",
        "import tarfile; tarfile.open('x').extractall()",
        "import jinja2; jinja2.Environment(autoescape=False)",
        "import marshal; marshal.loads(b'')",
    )
    for number, line in enumerate(lines):
        (tmp_path / f"bad{number}.py").write_text(line + "\n")
    command = [sys.executable, "-m", "bandit", "-q", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, "-f", "custom", "--msg-template", "{relpath}", "-r", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert {f"bad{n}.py" for n in range(len(lines))} == {
        Path(found).name for found in done.stdout.split()
    }
