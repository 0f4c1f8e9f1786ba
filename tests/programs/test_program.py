"""A program says what its circuit says, alone."""

import ast
import copy
import dataclasses
import json
import keyword
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import micro
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.cli.app import main
from lacewing.errors import ConfigError, DataError, MismatchError
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, load
from lacewing.programs.compile import compile_plan
from lacewing.programs.layout import docstring, plain
from lacewing.programs.lines import Drop, Keep, Plan
from lacewing.programs.measure import run_file
from lacewing.programs.names import RESERVED, Names, feature, slug
from lacewing.programs.program import exact_program, program, simple_program
from lacewing.programs.reference import Reference
from lacewing.tasks.pair import Pair

CLOSE = 1e-4
STRANGE = (
    'say """three""" \\ \\n and \'\'\' # no',
    "tab\there, bell\x07, null\x00, line\u2028separator, \ud7ff, é 中 \U0001f98b",
    'ends with a quote"',
    "ends with a backslash\\",
    "two\nlines\r\nand {braces} %s",
)
QUOTE_NODES = {
    "0.attn_in": [2, 26, 83, 95, 132, 134, 228, 246, 279, 281, 297, 309, 328, 345],
    "0.attn_q": [209],
    "0.attn_k": [192, 201, 203, 209, 210],
    "0.attn_v": [201, 210, 223],
    "0.attn_out": [10, 49, 88, 229],
    "0.mlp_in": [10, 88],
    "0.mlp_neuron": [5, 17, 400],
    "0.mlp_out": [49, 107],
    "1.attn_in": [2, 26, 49, 229, 341],
    "1.attn_q": [37, 38],
    "1.attn_k": [38, 40],
    "1.attn_v": [32, 48],
    "1.attn_out": [10, 49],
    "resid_final": [10, 49, 88],
}
"""Nodes of the builtin model's quote circuit, and some more of every site."""


def chosen(model: Model, kept: dict[str, list[int]], cut: float = 0.0, **facts: object) -> Circuit:
    """A circuit of given nodes, with a share of its edges cut."""
    known = {
        "model_id": model.id,
        "model_source": model.source,
        "task": "first_letter",
        "answers": tuple(model.tokenizer.single(letter) for letter in "PQ"),
        "ablation": "mean",
        "config": PruneConfig(target_loss=0.15),
    }
    made = circuit_of(model.network, micro.nodes_of(kept, model.network.config), **(known | facts))
    dice = np.random.default_rng(0)
    edges = {f: pairs[dice.random(len(pairs)) >= cut] for f, pairs in made.edges.items()}
    return dataclasses.replace(made, edges=edges)


def drawn(model: Model, share: float, seed: int, **facts: object) -> Circuit:
    """A circuit of random nodes."""
    dice = np.random.default_rng(seed)
    widths = site_widths(model.network.config)
    kept = {key: np.flatnonzero(dice.random(n) < share).tolist() for key, n in widths.items()}
    return chosen(model, kept, **facts)  # type: ignore[arg-type]


def difference(model: Model, circuit: Circuit, count: int = 40) -> float:
    """Largest difference between a compiled plan and the circuit on random sequences."""
    config = model.network.config
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(config.vocab_size, (count, config.context), generator=generator)
    last = torch.randint(config.context, (count,), generator=generator)
    wanted = Reference(model, circuit).live(tokens, last)[:, list(circuit.answers)]
    got = compile_plan(model, circuit).run(tokens.numpy(), last.numpy())
    return float(np.abs(got - wanted.numpy()).max())


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_plan_equals_circuit(busy: Model, share: float, seed: int) -> None:
    """Two layers, AbsTopK at every site, sinks, positions and a bigram table."""
    assert difference(busy, drawn(busy, share, seed)) < CLOSE


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cut_edges(busy: Model, seed: int) -> None:
    """A cut edge carries its weight times the fill of its source."""
    circuit = drawn(busy, 0.4, seed, cut=0.5)
    assert difference(busy, circuit) < CLOSE
    whole = circuit_of(
        busy.network,
        circuit.nodes,
        **{
            f.name: getattr(circuit, f.name)
            for f in dataclasses.fields(circuit)
            if f.name not in ("nodes", "edges")
        },
    )
    tokens = torch.arange(16)[None]
    at = torch.tensor([15])
    both = [Reference(busy, c).live(tokens, at) for c in (circuit, whole)]
    assert not torch.allclose(*both)


def test_zero_ablation(busy: Model) -> None:
    """Under zero ablation everything outside is zero."""
    assert difference(busy, drawn(busy, 0.3, 5, ablation="zero")) < CLOSE


def test_every_kind_of_abs_topk(busy: Model) -> None:
    """The circuits above need all three ways of printing AbsTopK."""
    plans = [compile_plan(busy, drawn(busy, 0.4, seed)) for seed in range(6)]
    lines = [line for plan in plans for line in plan.lines]
    keeps = [line for line in lines if isinstance(line, Keep)]
    assert any(keep.bounds is not None for keep in keeps)
    assert any(keep.rivals for keep in keeps)
    assert any(isinstance(line, Drop) for line in lines)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_of_equals_the_first_stays(busy: Model, seed: int) -> None:
    """Sizes that are equal, as weights of 16 bits have some: AbsTopK keeps the first channel."""
    network = copy.deepcopy(busy.ours)
    with torch.no_grad():
        for weight in (network.wpe.weight, network.wte.weight):
            weight.copy_(weight.sign() * (1 + (weight.abs() > weight.abs().median())))
    tied = dataclasses.replace(busy, network=network)
    assert difference(tied, drawn(tied, 0.4, seed)) < CLOSE


@pytest.mark.parametrize("cut", [0.0, 0.3])
def test_builtin(cut: float) -> None:
    """A circuit through every site of the shipped sparse model."""
    model = load("builtin:taught-sparse")
    answers = tuple(model.tokenizer.single(text) for text in ('")', "')"))
    circuit = chosen(model, QUOTE_NODES, cut, answers=answers, task="single_double_quote")
    assert difference(model, circuit, 12) < CLOSE


def test_file_alone(busy: Model, tmp_path: Path) -> None:
    """The file runs in a bare interpreter, checks itself, and imports nothing but NumPy."""
    calibration = Calibration(1.7, {busy.tokenizer.single("P"): -0.3})
    circuit = drawn(busy, 0.4, 1, cut=0.2, calibration=calibration)
    pairs = micro.prompts(12, 3, busy.tokenizer).pairs
    made = exact_program(busy, circuit, pairs, examples=5)
    assert made.agreement is not None
    assert (24, 1.0) == (made.agreement.prompts, made.agreement.same)
    assert made.agreement.largest < CLOSE
    file = tmp_path / "p.py"
    file.write_text(made.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", str(file)], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "10 prompts: the circuit's answer on 10" in done.stdout
    names = {
        a.name for n in ast.walk(ast.parse(made.text)) if isinstance(n, ast.Import) for a in n.names
    }
    assert names <= {"numpy", "math", "sys"}
    assert "torch" not in made.text
    tree = ast.parse(made.text)
    asking = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "ask"]
    taken = [n for part in tree.body for n in ast.walk(part) if isinstance(n, ast.ImportFrom)]
    assert taken == [n for n in ast.walk(asking[0]) if isinstance(n, ast.ImportFrom)]


def test_real_circuit_file() -> None:
    """The builtin quote circuit's file agrees on prompts of the real tokenizer."""
    model = load("builtin:taught-sparse")
    answers = tuple(model.tokenizer.single(text) for text in ('")', "')"))
    circuit = chosen(model, QUOTE_NODES, 0.2, answers=answers, task="single_double_quote")
    words = ("No reviews", "Cannot read", "index error in the list", "a")
    pairs = [Pair(f'x = 1\nprint("{w}', f"x = 1\nprint('{w}", '")', "')", "made up") for w in words]
    made = exact_program(model, circuit, pairs, examples=2)
    assert made.agreement is not None
    assert made.agreement.largest < CLOSE
    assert all(f"# {node}" in made.text for node in circuit.node_names() if "mlp" not in node)


def test_names_from_meanings(model: Model) -> None:
    """What nodes were explained as names them, validly, and the file computes the same."""
    pairs = micro.prompts(3, 1, model.tokenizer).pairs
    circuit = chosen(model, micro.PLANTED)
    said = {
        "0.attn_in.1": "in_string not depth from 2",
        "0.attn_in.2": "def",
        "0.attn_in.3": "1 back ('",
        "0.attn_v.0": "since ü __import__",
    }
    made = exact_program(model, circuit, pairs, meanings=said)
    # A comment stands behind a short line and above a long one.
    names = dict(re.findall(r"# (\d\.\w+\.\d+) ->.*\n\s*(\w+) = .*[^\d]\n", made.text))
    names |= {b: a for a, b in re.findall(r"(\w+) = .*  # (\d\.\w+\.\d+)", made.text)}
    assert names["0.attn_in.1"] == "in_string_not_depth_from_2"
    assert names["0.attn_in.2"] == "def_"
    assert names["0.attn_in.3"] == "n1_back_paren_squote"
    assert names["0.attn_v.0"] == "value_since"
    assert all(names[node].isidentifier() for node in said)
    assert made.agreement is not None
    assert made.agreement.largest < CLOSE


def test_a_failed_check_is_seen(model: Model, tmp_path: Path) -> None:
    """A file whose numbers were changed fails its own check."""
    pairs = micro.prompts(3, 1, model.tokenizer).pairs
    text = program(model, chosen(model, micro.PLANTED), pairs)
    assert "1.2" in text
    file = tmp_path / "p.py"
    file.write_text(text.replace("0.25 *", "0.35 *"), encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", str(file)], capture_output=True, check=False)
    assert done.returncode == 1


def test_same_bytes(model: Model) -> None:
    """The same circuit gives the same text."""
    pairs = micro.prompts(4, 1, model.tokenizer).pairs
    texts = [program(model, chosen(model, micro.PLANTED), pairs) for _ in range(2)]
    assert texts[0] == texts[1]


def test_hand_solved_circuit_reads_as_planted(model: Model) -> None:
    """The micro circuit's file holds its planted weights, one line per node."""
    made = exact_program(model, chosen(model, micro.PLANTED), ())
    assert made.agreement is None
    body = made.text.partition("def circuit")[2].partition("\n\n\n")[0]
    assert "1.2 * " in body
    assert "12 * " in body
    kept = [f"{key}.{c}" for key, channels in micro.PLANTED.items() for c in channels]
    assert all(f"# {node}" in body for node in kept)


def test_strange_text(model: Model) -> None:
    """No prompt, token or task name breaks the file."""
    pairs = [Pair(f"X{t}", f"Y{t}", "P", "Q", t) for t in STRANGE]
    letters = model.tokenizer
    long = dataclasses.replace(model.network.config, context=128)
    network = type(model.network)(long)
    network.load_state_dict(model.network.state_dict())
    network.eval().requires_grad_(False)
    wide = dataclasses.replace(model, network=network)
    for task in STRANGE[:2]:
        circuit = chosen(wide, micro.PLANTED, task=task)
        text = program(wide, circuit, pairs, examples=len(pairs))
        tree = ast.parse(text)
        prompts = next(
            n.value
            for n in tree.body
            if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "PROMPTS"
        )
        said = [row[0] for row in ast.literal_eval(prompts)]
        assert [t for p in pairs for t in (p.clean, p.corrupted)] == said
    assert letters.vocab_size == 258


def test_any_token_has_a_name(busy: Model) -> None:
    """Names are identifiers, unique, and shadow nothing that a program uses."""
    plan = compile_plan(busy, drawn(busy, 0.6, 2))
    names = Names(plan, np.ones(busy.network.config.vocab_size), busy.tokenizer.token)
    found = list(names.found.values())
    assert len(set(found)) == len(found)
    assert all(n.isidentifier() and not keyword.iskeyword(n) for n in found)
    assert not RESERVED & set(found)
    tokens = [*STRANGE, "", " ", "\n", "len", "while", "1", "é", "\U0001f98b"]
    assert all(slug(token).isidentifier() for token in tokens)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({'("': 3.0, "('": 2.9}, "quote_open"),
        ({'("': 3.0, '["': 2.0}, "dquote_open"),
        ({'("': 3.0, "('": -2.9}, "paren_dquote_vs_paren_squote"),
        ({"while": 3.0, "x": 0.1}, "while"),
        ({}, "nothing"),
    ],
)
def test_features(values: dict[str, float], expected: str) -> None:
    """A table is called after what it is large for."""
    tokens = [*values, "other"]
    column = np.array([*values.values(), 0.0])
    assert expected == feature(column, np.ones(len(tokens)), tokens.__getitem__)


def test_docstring_is_safe() -> None:
    """Any text survives as a docstring."""
    for text in STRANGE:
        found = ast.get_docstring(ast.parse(docstring(text)), clean=False)
        assert plain(text) == found
        assert plain(text).isascii()


def test_too_long_or_empty(model: Model) -> None:
    """A file refuses sequences that the network could not read, and none at all."""
    text = program(model, chosen(model, micro.PLANTED))
    for ids in ([], [1] * 17):
        with pytest.raises(Exception, match="tokens; there must be 1 to 16"):
            run_file(text, [ids])
    assert (1, 2) == run_file(text, [[1] * 16]).shape


def test_refused(model: Model, busy: Model) -> None:
    """Resample ablation, another model and no pairs are refused with a reason."""
    with pytest.raises(ConfigError, match="resample"):
        program(model, chosen(model, micro.PLANTED, ablation="resample"))
    with pytest.raises(MismatchError, match="belongs to model"):
        program(busy, chosen(model, micro.PLANTED))
    with pytest.raises(DataError, match="test pairs"):
        simple_program(model, chosen(model, micro.PLANTED), ())


def test_idle_nodes_are_named(model: Model) -> None:
    """A kept node that no answer depends on is listed at the head."""
    circuit = chosen(model, micro.PLANTED | {"0.mlp_neuron": [0, 90]})
    plan = compile_plan(model, circuit)
    assert isinstance(plan, Plan)
    assert ("0.mlp_neuron.90",) == plan.idle
    assert "    0.mlp_neuron.90" in program(model, circuit)


def test_simple_program(model: Model) -> None:
    """The simplified micro circuit is short, free of norms, and still right on every prompt."""
    pairs = micro.prompts(40, 3, model.tokenizer).pairs
    circuit = chosen(model, micro.PLANTED)
    made = simple_program(model, circuit, pairs, examples=3)
    exact = exact_program(model, circuit, pairs)
    assert made.agreement is not None
    assert made.agreement.prompts == 60  # a quarter was chosen on: the task has no text
    assert made.agreement.same == 1.0
    assert made.agreement.mean < 0.5
    assert made.lines <= exact.lines
    assert made.lines < 45
    assert "np.sqrt" not in made.text
    assert "other test prompts" in made.text


def test_command(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lacewing program` writes both files beside the circuit, and refuses to overwrite others."""
    run = micro.write_run(model, tmp_path / "run")
    circuit = chosen(model, micro.PLANTED, model_source=str(run))
    pairs = micro.prompts(24, 3, model.tokenizer).pairs
    dataclasses.replace(circuit, pairs=tuple(pairs)).save(tmp_path / "circuit")
    words = ["-m", "lacewing", "program", "--circuit", str(tmp_path / "circuit"), "--json"]
    main(words[2:])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["exact"]["agreement"]["largest"] < CLOSE
    for name in ("program.py", "program_simple.py"):
        assert "def circuit(ids):" in (tmp_path / "circuit" / name).read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main([*words[2:-1], "--output", str(tmp_path / "circuit" / "program.py")])
    assert stop.value.code == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("close_the_quote", "print('hi", '"print(\'hi" -> "\')"'),
        ("close_the_quote", 'print("hi', "'print(\"hi' -> '\")'"),
        ("close_the_quote_taught", "print('hi", '"print(\'hi" -> "\')"'),
        ("close_the_quote_taught", 'print("hi', "'print(\"hi' -> '\")'"),
        ("indent_the_loop", "f()\n        for i in x:\n", "-> '           '"),
    ],
)
def test_the_examples_take_a_prompt(
    request: pytest.FixtureRequest, name: str, text: str, said: str
) -> None:
    """`python examples/NAME.py TEXT` says what the circuit predicts after a text."""
    execute = request.getfixturevalue("program")
    file = Path(__file__).parents[2] / "examples" / f"{name}.py"
    assert said in execute([str(file), text])
    assert "give one: python" in execute([str(file)])
