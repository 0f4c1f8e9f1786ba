"""The rules of the house, read off the source; each test lists all offenders."""

import ast
import doctest
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import lacewing_blame

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lacewing_blame"
ORDER = (
    *("errors", "files", "progress", "statistics", "events", "attribution"),
    *("formats.common", "formats.autogen", "formats.jsonl", "formats.langchain"),
    *("formats.openai", "formats.otel", "formats.whoandwhen"),
    *("formats.agents", "formats.anthropic", "formats.crewai", "formats.inspect", "formats"),
    *("reading.labels", "reading.evals", "reading.parse", "reading.read", "reading"),
    *("ranker.lexicon", "ranker.run", "ranker.flow"),
    *("signals.values", "signals.scene", "signals.grounding", "signals.failing"),
    *("signals.contradiction", "signals.policy", "signals.repeating", "signals.claiming"),
    *("signals.sums", "signals.instructions", "signals.aftermath", "signals.placing"),
    *("signals.meanings", "signals.table", "signals.spans", "signals"),
    *("ranker.seen", "ranker.meanings", "ranker.features", "ranker.general", "ranker.shape"),
    *("ranker.logit", "ranker.calibrate", "ranker.folds", "ranker.evidence", "ranker.weights"),
    *(
        "ranker.ranking",
        "ranker.watch",
        "ranker.train",
        "ranker.crossval",
        "ranker.spectrum",
        "ranker",
    ),
    *("rules", "scoring", "replay"),
    *("llm.cache", "llm.endpoint", "llm.replies", "llm.transport", "llm.client", "llm.prompts"),
    *(
        "llm.answers",
        "llm.asking",
        "llm.rerank",
        "llm.verify",
        "llm.windows",
        "llm.methods",
        "llm.many",
        "llm",
    ),
    *("pages.text", "pages.templating", "pages.timeline", "pages.head", "pages.aside"),
    *("pages.steps", "pages.page", "pages"),
    *("following", "terminal", "questions", "command", "cli", "__main__"),
)
"""Modules from the ground up: each may import only what stands before it."""
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 80
ALLOWED = {"httpx", "jinja2", "markupsafe", "tyro", "lacewing_blame"}
"""What may be imported beside the standard library."""
OPTIONAL = {("numpy", "ranker.logit")}
"""Libraries that only an extra brings, each with the module that may import it; another one,
for zstd, reading/evals.py asks for by name."""


def module_of(path: Path) -> str:
    """The dotted name of a source file within the package; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imported(tree: ast.AST) -> Iterator[str]:
    """Everything that a module imports, by its whole dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("lacewing_blame.")
                yield f"lacewing_blame.{inner}" if inner in MODULES else str(node.module)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """All functions and methods."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public functions, classes and methods."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def test_every_module_has_a_place() -> None:
    """Every module stands in ORDER, and ORDER holds nothing else."""
    assert set(ORDER) == MODULES.keys() - {""}


def test_imports_only_what_stands_above() -> None:
    """A module imports what stands above it, nothing below, inside folders too."""
    below = [
        f"{name} imports {other}"
        for name, tree in TREES.items()
        if name
        for whole in imported(tree)
        if whole.startswith("lacewing_blame.")
        and (other := whole.removeprefix("lacewing_blame.")) in ORDER
        and ORDER.index(other) >= ORDER.index(name)
    ]
    assert [] == below


def test_imports_nothing_else() -> None:
    """No torch, nothing of lacewing: few libraries, each declared."""
    import sys

    foreign = [
        f"{name} imports {whole}"
        for name, tree in TREES.items()
        for whole in imported(tree)
        if (top := whole.split(".")[0]) not in sys.stdlib_module_names | ALLOWED
        and (top, name) not in OPTIONAL
    ]
    assert [] == foreign
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {name.split(">=")[0] for name in project["dependencies"]}
    assert ALLOWED - {"lacewing_blame", "markupsafe"} == declared
    assert ["numpy>=1.26"] == project["optional-dependencies"]["train"]
    assert lacewing_blame.__version__ == project["version"]


def test_sizes() -> None:
    """No file has more than 400 lines, no function more than 80."""
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert [] == [name for name, count in lines.items() if count > LONGEST_FILE]
    long = [
        f"{name}.{function.name}"
        for name, tree in TREES.items()
        for function in functions(tree)
        if (function.end_lineno or 0) - function.lineno >= LONGEST_FUNCTION
    ]
    assert [] == long


def test_documented() -> None:
    """Every module, and every public function, class and method, has a docstring."""
    bare = [name for name, tree in TREES.items() if ast.get_docstring(tree) is None]
    bare += [
        f"{name}.{what}"
        for name, tree in TREES.items()
        for what, node in public(tree.body)
        if ast.get_docstring(node) is None  # type: ignore[arg-type]
    ]
    assert [] == bare


def test_nothing_runs_from_files() -> None:
    """No module imports a pickle."""
    pickles = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    assert [] == [name for name, tree in TREES.items() if pickles & set(imported(tree))]


def test_nothing_goes_unescaped() -> None:
    """Every template is escaped as a whole; only the package's own style and script are not."""
    templates = sorted((PACKAGE / "pages" / "templates").iterdir())
    assert templates
    for word in ("safe", "autoescape", "Markup"):
        assert [] == [t.name for t in templates if word in t.read_text(encoding="utf-8")]
    users = [name for name, tree in TREES.items() if "markupsafe" in imported(tree)]
    assert ["pages.templating"] == users


def test_public_names() -> None:
    """Each public name can be had from the package, and nothing else."""
    for name in lacewing_blame.__all__:
        assert getattr(lacewing_blame, name) is not None
    assert lacewing_blame.__all__ == dir(lacewing_blame)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lacewing_blame.nonsense


def test_public_functions_have_an_example() -> None:
    """Every public function of a module shows how it is called, but for `main`."""
    bare = [
        f"{name}.{node.name}"
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if node.name != "main" and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert [] == bare


def test_examples() -> None:
    """Every example of a docstring gives what it says."""
    ran, failed = 0, []
    for name in MODULES:
        if name != "__main__":
            module = importlib.import_module(f"lacewing_blame.{name}".rstrip("."))
            result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
            ran += result.attempted
            failed += [name] if result.failed else []
    assert [] == failed
    assert ran > 100


def test_licence_is_the_same() -> None:
    """The package carries the licence of the repository it comes from."""
    whole = ROOT.parent / "LICENSE"
    if whole.exists():
        assert whole.read_text() == (ROOT / "LICENSE").read_text()
