"""The rules of the house, read off the source."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lacewing.shapes import AXES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lacewing"
ORDER = (
    *("errors", "shapes", "artifacts", "progress", "kernels", "data", "model", "training", "tasks"),
    *("circuits", "bridges", "sae", "explain", "watch", "interop", "report", "sweep"),
    *("viewer", "plugins", "verbs", "demo", "cli", "__main__"),
)
"""Top-level modules, from the ground up: each may import only what stands before it."""

FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 80
ARRAYS = {"Float", "Float32", "Bool", "Int", "Int32", "Int64", "UInt16", "Shaped", "Num"}
WORD = re.compile(r"[a-z_]{2,}")
"""Axis words; single letters stand for sizes that only have to agree."""


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def at_load(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module loads: not those in functions or under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not typing_only and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from at_load(node)


def imported(path: Path, loading: bool = False) -> Iterator[str]:
    """Modules of lacewing that a file imports, anywhere or while loading."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in at_load(tree) if loading else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "lacewing")
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*up, *([node.module] if node.module else [])])
            if name.split(".")[0] == "lacewing":
                for alias in node.names:
                    whole = f"{name}.{alias.name}"
                    yield whole if whole in MODULES else name


def shelf(module: str) -> int | None:
    """The place of a module in ORDER; None for the package itself."""
    parts = module.split(".")
    return ORDER.index(parts[1]) if len(parts) > 1 else None


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Public functions, classes and methods of a body that have no docstring."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{prefix}{node.name}.")


def test_every_module_has_a_place() -> None:
    """Every file and folder of the package stands in ORDER, so that no import goes unread."""
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert found - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_only_what_stands_above(path: Path) -> None:
    """A module imports its own folder and what stands above it, nothing below."""
    place = shelf(module_of(path))
    below = [m for m in imported(path) if place is not None and (shelf(m) or 0) > place]
    assert below == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_axis_words(path: Path) -> None:
    """Array annotations use the axis words of shapes.py and no synonyms."""
    unknown = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
            continue
        axes = node.slice.elts[-1] if node.slice.elts else None
        if ast.unparse(node.value) in ARRAYS and isinstance(axes, ast.Constant):
            words = WORD.findall(str(axes.value))
            unknown |= set(words) - AXES.keys()
    assert unknown == set()


def test_no_cycles() -> None:
    """Modules that load each other have no cycle, inside the folders too."""
    waiting = {module: {*imported(path, loading=True)} for module, path in MODULES.items()}
    # The package itself holds only the version; its names are imported when they are used.
    del waiting["lacewing"]
    while ready := [module for module, needs in waiting.items() if not needs & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert sorted(waiting) == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_sizes(path: Path) -> None:
    """No file has more than 400 lines, no function more than 80."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    lengths = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions(ast.parse(text))}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_documented(path: Path) -> None:
    """Every module, and every public function, class and method, has a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) is not None
    assert list(undocumented(tree.body)) == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_annotated(path: Path) -> None:
    """Every argument has a type; annotations are values, not strings, for the run-time check."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = [
        f"{function.name}({argument.arg})"
        for function in functions(tree)
        for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        if argument.annotation is None and argument.arg not in ("self", "cls")
    ]
    assert bare == []
    future = [
        n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "__future__"
    ]
    assert future == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_runs_from_files(path: Path) -> None:
    """No module imports a pickle or calls torch.load or torch.save, which are pickles too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {"pickle", "cPickle", "dill", "cloudpickle", "joblib"}.intersection(names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}


def loads_torch(statement: str) -> bool:
    """Whether a fresh interpreter has torch loaded after a statement."""
    program = f"{statement}\nimport sys\nprint('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    return done.stdout.strip() == "True"


@pytest.mark.parametrize(
    "statement",
    [
        "import lacewing; lacewing.TrainConfig; lacewing.PruneConfig; lacewing.ModelConfig",
        "import lacewing; lacewing.Corpus",
        "import lacewing.cli",
        "import lacewing.artifacts",
    ],
)
def test_help_needs_no_torch(statement: str) -> None:
    """Settings, corpora and the command line load without torch, so that --help is quick."""
    assert not loads_torch(statement)


def test_unknown_name() -> None:
    """A name the package does not have is an AttributeError, as Python expects."""
    import lacewing

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lacewing.nonsense
    assert set(lacewing.__all__) <= set(dir(lacewing))
