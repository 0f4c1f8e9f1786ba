"""Attacks: edits keep the right answer right, and hit rates are counted honestly."""

import ast
import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

import micro
from lacewing.attacks.attack import Attacks, Attempt, attack, rate
from lacewing.attacks.edits import WHY, Edit, draw, kinds_for, parts_of, put
from lacewing.attacks.material import Material, material
from lacewing.attacks.search import EACH, Candidate, Scale, chosen, matched
from lacewing.attacks.state import read, same_state, starts
from lacewing.circuit.calibration import Calibration
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.cli.app import main
from lacewing.errors import ConfigError, DataError
from lacewing.model.store import Model, load
from lacewing.tasks.pair import Pair

ABOVE = ["    if ready:\n", "        total = [1,\n", "                 2]\n", "        go()\n"]
QUOTE = Pair(
    "".join(ABOVE) + '        print("Cannot read',
    "".join(ABOVE) + "        print('Cannot read",
    '")',
    "')",
    "a.py",
)
IF = Pair("go()\nif x == name", "go()\nx = name", ":\n", "\n", "b.py")
WITH = Pair("go()\nwith open(path)", "go()\nf = open(path)", " as", " if", "c.py")
DICT = Pair('m = {"a": 1, "b', 'm = ["a", 1, "b', '":', '",', "d.py")
STUFF = Material(
    comments=("# don't (ever", '# say "hi', "# [unmatched {", "# fine '''"),
    docstrings=("It's (open", "Return the 'name'"),
    statements=("count = 1", "go(other)", "self.x = [y]"),
    names=("alpha", "beta", "gamma"),
    words=("slow", "index", "value"),
)
ENDS = {
    "a.py": (")", ")"),  # after the closing quote's token
    "b.py": ("    pass\n", ""),
    "c.py": (" g: pass\n", " y else z\n"),
    "d.py": (" 2}\n", " 2]\n"),
}


def test_reads_whole_statements() -> None:
    """Indented lines read cleanly; open brackets and strings, and lines inside one, do not."""
    assert read(ABOVE) is not None
    assert read([]) is not None
    assert read(["x = [1,\n"]) is None
    assert read(['x = """a\n']) is None
    assert read(["    2])\n", "y = 1\n"]) is None


def test_places_between_statements() -> None:
    """Only where a statement starts can a line be put in: not inside the list of two lines."""
    tokens = read(ABOVE)
    assert tokens is not None
    assert [0, 1, 3, 4] == starts(tokens, len(ABOVE))


def test_same_state() -> None:
    """Comments change nothing whatever is in them; half a bracket or a lost line does."""
    tokens = read(ABOVE)
    assert tokens is not None
    for line in ("        # don't [\n", '        """it\'s (open"""\n', "        x = (1)\n"):
        assert same_state(tokens, [*ABOVE, line])
        assert same_state(tokens, [*ABOVE[:3], line, *ABOVE[3:]])
    assert not same_state(tokens, [*ABOVE, "        x = (1\n"])
    assert not same_state(tokens, [*ABOVE, "        x = '''\n"])
    assert not same_state(tokens, ABOVE[:-1])
    assert not same_state(tokens, [ABOVE[0], "        y = 1\n", ABOVE[3]])


@pytest.mark.parametrize("pair", [QUOTE, IF, WITH, DICT], ids=lambda p: p.source)
def test_the_right_answer_stays_right(pair: Pair) -> None:
    """Every edit of every kind, with the answer after it, is still Python of the same make."""
    parts, dice = parts_of(0, pair), random.Random(0)
    kinds = kinds_for(parts)
    assert set(kinds) <= set(WHY)
    for kind in kinds:
        made = [e for _ in range(30) if (e := draw(parts, kind, STUFF, dice))]
        assert made
        for edit in made:
            ends = ENDS[pair.source]
            for text, answer, end in (
                (edit.pair.clean, pair.clean_answer, ends[0]),
                (edit.pair.corrupted, pair.corrupted_answer, ends[1]),
            ):
                whole = text + answer + ("" if pair.source == "a.py" else end)
                if whole.startswith("    "):
                    whole = "if 1:\n" + whole
                ast.parse(whole)
            assert edit.pair.clean_answer == pair.clean_answer
            assert len(edit.pair.clean) > len(pair.clean)


def test_kinds_of_a_pair() -> None:
    """A pair allows the kinds that fit its end, and lines above only where they read cleanly."""
    assert ("comment", "docstring", "statement", "string") == kinds_for(parts_of(0, QUOTE))
    assert "arguments" in kinds_for(parts_of(0, WITH))
    assert "attribute" in kinds_for(parts_of(0, IF))
    assert "items" in kinds_for(parts_of(0, DICT))
    inside = dataclasses.replace(
        QUOTE, clean="2]\n" + QUOTE.clean, corrupted="2]\n" + QUOTE.corrupted
    )
    assert ("string",) == kinds_for(parts_of(0, inside))


def test_no_argument_after_one_with_a_name() -> None:
    """`f(a=1, b)` is no Python; such calls stay as they are."""
    named = "go(a, b=c)"
    pair = dataclasses.replace(WITH, clean=f"with {named}", corrupted=f"x = {named}")
    assert "arguments" not in kinds_for(parts_of(0, pair))
    plain = named.replace("b=", "")
    pair = dataclasses.replace(WITH, clean=f"with {plain}", corrupted=f"x = {plain}")
    edit = put(parts_of(0, pair), "arguments", ("word",), random.Random(0))
    assert edit is not None
    assert "with go(a, c, word)" == edit.pair.clean


def test_no_statement_between_if_and_else() -> None:
    """Nothing but a comment goes between a body and its else."""
    above = "if x:\n    go()\n"
    pair = Pair(above + "else", above + "elif", ":\n", " not", "e.py")
    parts = parts_of(0, pair)
    for seed in range(30):
        edit = put(parts, "statement", ("count = 1",), random.Random(seed))
        assert edit is None or not edit.pair.clean.startswith(above + "count")
        both = put(parts, "comment", ("# why",), random.Random(seed))
        assert both is not None


def candidate(
    base: int, member: int, margin: float, size: int = 5, kind: str = "comment"
) -> Candidate:
    """A candidate whose text does not matter."""
    made = Edit(kind, (f"# {base} {margin}",), base, IF)
    return Candidate(made, member, float(margin), float(margin), size)


def test_chosen_are_flips_one_a_pair() -> None:
    """The surest first, only where circuit and model were right before, one of every pair."""
    pool = [candidate(0, 0, -1), candidate(0, 1, -3), candidate(1, 0, -2), candidate(2, 0, 1)]
    circuit = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, 1.0]])
    assert [-3] == [c.margin for c in chosen(pool, Scale(circuit, abs(circuit)), 10)]
    wrong = np.array([[1.0, -1.0], [1.0, 1.0], [1.0, 1.0]])
    assert [-1] == [c.margin for c in chosen(pool, Scale(circuit, wrong), 10)]


def test_scale_moves_the_models_margin() -> None:
    """A model of twice the circuit's margins loses two nats where the circuit loses one."""
    circuit = np.array([[1.0, 2.0], [3.0, -1.0]])
    scale = Scale(circuit, 2 * circuit + 0.5)
    assert pytest.approx(2.0) == scale.slope
    assert pytest.approx(2 * -4.0 + 4.5) == scale.predicted((0, 1), -2.0)
    assert 7.0 == Scale(np.ones((2, 2)), np.full((2, 2), 7.0)).predicted((1, 1), -9.0)


def test_matched_controls() -> None:
    """A control has the member and about the size of its attack, and the kind where asked for."""
    attacks = [candidate(0, 0, -1, size=10)]
    pool = [
        candidate(1, 1, 2, size=10),
        candidate(2, 0, 2, size=20),
        candidate(0, 0, 2, size=10),
        candidate(3, 0, 2, size=11, kind="string"),
    ]
    assert [3] == [c.edit.base for c in matched(attacks, pool, random.Random(0), False)]
    assert [] == matched(attacks, pool, random.Random(0), True)


def attempt(before: float, after: float) -> Attempt:
    """An attempt of which only the full model's margins matter."""
    margins = 1.0, -1.0, -1.0, float(before), float(after)
    return Attempt("comment", ("#",), "", "a", "b", 1, *margins, "f")


def test_rates() -> None:
    """Only prompts that were right before count; Wilson's interval of 1 in 4."""
    found = rate([attempt(1, -1), attempt(1, 1), attempt(2, 1), attempt(1, 2), attempt(-1, -1)])
    assert (1, 4, 0.25) == (found.hits, found.n, found.rate)
    assert (0.0456, 0.6994) == pytest.approx(found.interval, abs=1e-4)
    assert (0.0, 1.0) == rate([]).interval


def test_ratio_without_control_hits() -> None:
    """Where a control never hits there is no ratio, but an interval."""
    many = tuple(attempt(1, -1) for _ in range(20))
    none = tuple(attempt(1, 1) for _ in range(20))
    made = Attacks("t", "m", 0, 1, 1, many, none, none, many)
    assert made.ratio("random")["value"] is None
    assert made.ratio("random")["interval"][0] > 5
    assert 1.0 == made.ratio("same_prompt")["value"]


def quote_circuit(model: Model) -> Circuit:
    """The builtin model's quote circuit: what tells quotes apart, and the head that finds them."""
    nodes = {
        "0.attn_in": [67, 108, 176, 237, 248, 301, 328, 343, 399],
        "0.attn_k": [261, 262, 265, 276, 277, 286],
        "0.attn_v": [267, 270, 275],
        "0.attn_out": [6, 96],
        "resid_final": [6, 96, 100],
    }
    return circuit_of(
        model.network,
        micro.nodes_of(nodes, model.network.config),
        model_id=model.id,
        model_source=model.source,
        task="single_double_quote",
        answers=tuple(model.tokenizer.single(text) for text in ('")', "')")),
        ablation="mean",
        config=PruneConfig(target_loss=0.15),
        # So near zero that edits turn some answers.
        calibration=Calibration(1.0, {model.tokenizer.single("')"): 0.75}),
    )


def prompts(count: int) -> list[Pair]:
    """Quote pairs of three lines."""
    words = ("Cannot read index", "No such value", "Missing name of file", "Found more than one")
    names = ("count", "total", "result", "path")
    made = []
    for i in range(count):
        above = f"{names[i % 4]} = {i}\nif {names[(i + 1) % 4]} == {i % 3}:\n"
        text = " ".join((*words[: 1 + i % 4], *names, names[(i + i // 4) % 4]))
        made.append(
            Pair(f'{above}    print("{text}', f"{above}    print('{text}", '")', "')", f"f{i}.py")
        )
    return made


def test_attack_is_repeatable(text: Path) -> None:
    """The same seed gives the same attacks; the circuit's predictions are below zero."""
    model = load("builtin:taught-sparse")
    circuit = quote_circuit(model)
    made = [
        attack(model, circuit, prompts(24), budget=400, tests=8, corpus=str(text), quiet=True)
        for _ in range(2)
    ]
    assert made[0].as_json() == made[1].as_json()
    first = made[0]
    assert first.attacks
    assert all(a.circuit < 0 < a.circuit_before for a in first.attacks)
    assert all(a.predicted < 0 < a.before for a in first.attacks)
    assert len(first.attacks) == len({a.source for a in first.attacks})
    assert first.predicted >= len(first.attacks)
    for group in (first.random, first.same_kind, first.same_prompt):
        assert len(group) <= EACH * len(first.attacks)
    prompts_used = {a.prompt for a in first.attacks}
    assert not prompts_used & {a.prompt for a in (*first.random, *first.same_prompt)}


def test_command(tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lacewing attack` prints the table and saves every prompt beside the circuit."""
    folder = tmp_path / "circuit"
    circuit = quote_circuit(load("builtin:taught-sparse"))
    dataclasses.replace(circuit, pairs=tuple(prompts(12))).save(folder)
    words = ["--circuit", str(folder), "--budget", "30", "--tests", "4", "--corpus", str(text)]
    main(["attack", *words])
    said = " ".join(capsys.readouterr().out.split())
    assert "attacks that the circuit chose" in said
    assert "random edits of the same prompts" in said
    saved = json.loads((folder / "attacks.json").read_text(encoding="utf-8"))
    assert {"seed", "rates", "ratio", "attacks", "random", "same_kind", "same_prompt"} <= set(saved)
    assert all(
        {"prompt", "circuit", "before", "after", "hit", "why"} <= set(a) for a in saved["attacks"]
    )


def test_refused(text: Path, tmp_path: Path) -> None:
    """Budgets of nothing, pairs that cannot be edited, and text that is no Python are refused."""
    model = load("builtin:taught-sparse")
    circuit = quote_circuit(model)
    with pytest.raises(ConfigError, match="too few"):
        attack(model, circuit, prompts(4), budget=0)
    bare = [Pair("y]\n2 3", "y]\n2 4", '")', "')", "z.py")]
    with pytest.raises(DataError, match="can be edited"):
        attack(model, circuit, bare, budget=4, corpus=str(text), quiet=True)
    (tmp_path / "notes").mkdir()
    for number in range(40):
        (tmp_path / "notes" / f"n{number}.py").write_text(f"this is ( no {number} Python '''")
    with pytest.raises(DataError, match="reads as Python"):
        material(str(tmp_path / "notes"), 0)
