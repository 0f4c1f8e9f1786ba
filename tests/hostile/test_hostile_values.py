"""Hypothesis against everything that reads a text: a value, or an error of lacewing's own."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile import logs, values
from lacewing.circuit.config import PruneConfig
from lacewing.data.packages import read_list
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import LacewingError
from lacewing.pages.names import safe_name
from lacewing.progress import printable
from lacewing.sweep.config import SweepConfig, read_config
from lacewing.tasks.userfile import read_pairs
from lacewing.viewer import notes
from lacewing_blame.errors import BlameError
from lacewing_blame.ranker.weights import SHIPPED, Ranker
from lacewing_blame.reading.read import read

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,  # the same examples everywhere
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
PAIR = {"clean": "Xa=", "corrupted": "Ya=", "clean_answer": "P", "corrupted_answer": "Q"}
LETTERS = Tokenizer.train(["a b"], vocab_size=258)
HASH = "0" * 64
SWEEP: dict[str, Any] = {
    "corpus": "standard_library",
    "widths": [16],
    "targets": [0.15],
    "training": {"n_layer": 1, "anneal": "linear", "keep": [0.5]},
    "pruning": {"prompts": 64, "constraints": ["zero"]},
}
NOTES = {"annotations": [{"id": "a", "on": "circuit", "text": "b", "changed": 1.0}]}
Reader = Callable[[Path], object]
READERS: dict[str, tuple[Reader, str, Any]] = {
    "sweep": (read_config, "sweep.json", SWEEP),
    "notes": (lambda path: notes.read(path.parent), notes.NAME, NOTES),
    "tokenizer": (Tokenizer.load, "tokenizer.json", json.loads(LETTERS.to_bytes())),
    "pairs": (read_pairs, "task.jsonl", PAIR),
    "weights": (Ranker.load, "weights.json", json.loads(SHIPPED.read_text())),
    **{
        f"log-{name}": (read, logs.file(name), log[1] if isinstance(log, list) else log)
        for name, log in logs.LOGS.items()
    },
}
"""What reads a file, the file's name, and what it holds where nobody changed it."""


def tried(reader: Reader, path: Path, content: str | bytes) -> None:
    """Read a content; only lacewing's own errors may come of it, in one line."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    path.write_bytes(content)
    with contextlib.suppress(LacewingError, BlameError):
        reader(path)


@pytest.mark.parametrize("name", READERS)
@FEW
@given(data=st.data())
def test_any_document(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Any JSON at all."""
    reader, file, _ = READERS[name]
    tried(reader, tmp_path / file, json.dumps(data.draw(JSON)))


@pytest.mark.parametrize("name", READERS)
@FEW
@given(random=st.randoms(use_true_random=False))
def test_documents_with_one_thing_changed(name: str, random: Any, tmp_path: Path) -> None:
    """What it holds, with one value, key or number changed to something hostile."""
    reader, file, document = READERS[name]
    changed, _ = values.changed(document, random)
    tried(reader, tmp_path / file, values.text(changed))


@pytest.mark.parametrize("name", READERS)
@FEW
@given(content=st.binary(max_size=200))
def test_any_bytes(name: str, content: bytes, tmp_path: Path) -> None:
    """Any bytes at all."""
    reader, file, _ = READERS[name]
    tried(reader, tmp_path / file, content)


@FEW
@given(line=st.text(max_size=200) | st.from_regex(r"[a-z]+==[0-9.]+ --hash=sha256:.{64}  # .*"))
def test_lines_of_a_recipe(line: str, tmp_path: Path) -> None:
    """A list of packages: what pip would read is either the one pinned form or refused."""
    path = tmp_path / "recipe.txt"
    path.write_bytes(line.encode("utf-8", "surrogatepass"))
    try:
        packages = read_list(path)
    except LacewingError:
        return
    shape = re.compile(r"[a-z0-9-]+==[A-Za-z0-9.!+_-]+ --hash=sha256:[0-9a-f]{64}")
    assert all(shape.fullmatch(package.requirement) for package in packages)


@FEW
@given(saved=st.dictionaries(st.sampled_from(sorted(PruneConfig().as_json())), JSON))
def test_configurations_of_a_pruning(saved: dict[str, Any]) -> None:
    """A saved configuration is one with its types, or refused."""
    with contextlib.suppress(LacewingError, TypeError):
        assert 0 < PruneConfig.of(saved).target_loss < 0.6931


@FEW
@given(text=st.text(max_size=300) | st.sampled_from(values.NAMES))
def test_names_of_files(text: str) -> None:
    """Whatever a text is, its file name stays in a folder, has no signs, and is never hidden."""
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,90}", name)
    assert safe_name(name) == name or len(name) > 60
    assert Path("folder", name).parent == Path("folder")


@FEW
@given(one=st.text(max_size=100), two=st.text(max_size=100))
def test_different_texts_have_different_names(one: str, two: str) -> None:
    """No circuit takes the file of another."""
    assert (safe_name(one) == safe_name(two)) == (one == two)


@FEW
@given(text=st.text(max_size=300) | st.sampled_from([n for n in values.NAMES if len(n) < 999]))
def test_what_a_terminal_is_sent(text: str) -> None:
    """No sign that steers it."""
    assert all(sign.isprintable() or sign == "\n" for sign in printable(text))


def test_a_default_sweep_is_readable(tmp_path: Path) -> None:
    """The document that is changed above is one that is read."""
    (tmp_path / "sweep.json").write_text(json.dumps(SWEEP))
    assert isinstance(read_config(tmp_path / "sweep.json"), SweepConfig)
