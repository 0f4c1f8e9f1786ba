"""A circuit as one standalone Python file of plain NumPy.

    network + circuit -> plan       what varies, line by line; exact             (programs/compile)
    plan + tokens     -> names      quote_open, key_quote_open, ...              (programs/names)
    plan + names      -> file       with its own check                           (programs/layout)
    plan + validation -> plan       thresholds and scales frozen, short to read  (programs/simple)

Every file is run by an interpreter of its own on all test prompts before it is handed out; what
came of it stands at its head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lacewing.circuit.circuit import Circuit
from lacewing.data.corpus import Corpus
from lacewing.errors import DataError
from lacewing.model.shipped import BUILTIN
from lacewing.model.store import Model
from lacewing.programs.compile import compile_plan
from lacewing.programs.layout import Example, page
from lacewing.programs.lines import Plan
from lacewing.programs.measure import Agreement, agreement, token_rows
from lacewing.programs.names import Names
from lacewing.programs.reference import Reference
from lacewing.programs.simple import Sample, simple_plan
from lacewing.tasks.batch import Prompts, encode, prompts
from lacewing.tasks.pair import Pair
from lacewing.tasks.registry import named

EXAMPLES = 16
"""Test pairs that a file carries for its check."""
SAMPLE = 48
"""Validation pairs that a simplified program is chosen on."""
DIGITS = 3
"""Significant digits of a simplified program's numbers."""
INLINE = 24
"""Entries up to which a simplified program's table is written where it is used."""


@dataclass(frozen=True)
class Written:
    """A program's file and what was measured of it."""

    text: str
    lines: int
    """Lines of the function that is the circuit."""
    agreement: Agreement | None
    """None without test prompts."""


def program(
    model: Model, circuit: Circuit, pairs: Sequence[Pair] | None = None, *, examples: int = EXAMPLES
) -> str:
    """A circuit as the text of a standalone Python file, exact up to rounding.

    Args:
        model: The model it was found in.
        circuit: The circuit.
        pairs: Test pairs, by default its own; without any the file's check is empty and nothing is
            measured.
        examples: How many of the pairs the file carries, the first ones.

    Returns:
        The text, the same for the same arguments.

    Raises:
        ConfigError: the circuit was found under resample ablation.
        MismatchError: it belongs to another model.

    Example:
        >>> text = program(load("builtin:taught-tiny"), Circuit.load("runs/indent"))
        >>> text.splitlines()[0].strip('"')
        'The circuit for indent_for as plain NumPy, equal to it up to rounding.'
    """
    return exact_program(model, circuit, pairs, examples=examples).text


def exact_program(
    model: Model,
    circuit: Circuit,
    pairs: Sequence[Pair] | None = None,
    *,
    examples: int = EXAMPLES,
    meanings: Mapping[str, str] | None = None,
) -> Written:
    """The same with what was measured; see `program`. `meanings` of nodes become their names."""
    test = _encoded(model, circuit.pairs if pairs is None else pairs)
    title = f"The circuit for {_task(circuit)} as plain NumPy, equal to it up to rounding."
    writer = _Writer(model, circuit, test, examples, meanings)
    return writer.write(compile_plan(model, circuit), title)


def simple_program(
    model: Model,
    circuit: Circuit,
    pairs: Sequence[Pair] | None = None,
    *,
    examples: int = EXAMPLES,
    corpus: str | None = None,
    meanings: Mapping[str, str] | None = None,
) -> Written:
    """A circuit as a short program, with thresholds and norm scales frozen.

    What to freeze and at which value is chosen on validation prompts of the circuit's task, or,
    where these cannot be made, on a quarter of the test pairs, which are then not measured on.

    Args:
        model: The model it was found in.
        circuit: The circuit.
        pairs: Test pairs, by default its own.
        examples: How many of them the file carries.
        corpus: Where validation prompts come from; by default the model's corpus.
        meanings: What some nodes mean, in words: their names.

    Raises:
        ConfigError: the circuit was found under resample ablation.
        DataError: there are no test pairs.
        MismatchError: it belongs to another model.
    """
    test = _encoded(model, circuit.pairs if pairs is None else pairs)
    if test is None:
        raise DataError("a simplified program is measured on test pairs, but there are none")
    chosen = _validation(model, circuit, corpus)
    where = "validation prompts"
    if chosen is None:
        quarter = max(1, len(test) // 4)
        chosen, test = test.take(range(quarter)), test.take(range(quarter, len(test)))
        where = "other test prompts, for there was no text to make validation prompts of"
        if not len(test):
            raise DataError(f"{quarter} test pair is too few to choose and to measure on: add some")
    writer = _Writer(model, circuit, test, examples, meanings)
    wanted = Reference(model, circuit).answers(chosen)
    sample = Sample(chosen.tokens.numpy(), chosen.last.numpy(), wanted)
    plan = simple_plan(compile_plan(model, circuit), sample, writer.counts)
    title = (
        f"The circuit for {_task(circuit)} as short plain NumPy, simplified.\n\n"
        "AbsTopK, norms and what hardly varies are constants, tables keep their strongest tokens;\n"
        f"chosen on {len(wanted)} {where}."
    )
    return writer.write(plan, title, exact=False)


class _Writer:
    """Prints plans of one circuit, and measures what it printed."""

    def __init__(
        self,
        model: Model,
        circuit: Circuit,
        test: Prompts | None,
        examples: int,
        meanings: Mapping[str, str] | None,
    ) -> None:
        self.meanings = meanings
        self.model, self.circuit, self.test = model, circuit, test
        self.wanted = None if test is None else Reference(model, circuit).answers(test)
        self.counts = np.ones(model.network.config.vocab_size)
        if test is not None:
            self.counts = np.zeros_like(self.counts)
            np.add.at(self.counts, np.concatenate(token_rows(test)), 1.0)
        self.examples = self._examples(examples)

    def write(self, plan: Plan, title: str, exact: bool = True) -> Written:
        """The file of a plan, with what was measured at its head."""
        names = Names(plan, self.counts, self.model.tokenizer.token, self.meanings)

        def text(head: str) -> str:
            digits, inline = (9, None) if exact else (DIGITS, INLINE)
            return page(
                plan,
                names,
                head,
                self.examples,
                _place(self.model),
                digits=digits,
                inline=inline,
                exact=exact,
            )

        found = None
        if self.test is not None and self.wanted is not None:
            found = agreement(text(""), self.wanted, self.test, self.circuit.answers)
        whole = text(_head(self.circuit, plan, found, title))
        body = whole.partition("def circuit(ids):")[2].partition("\n\n\n")[0]
        return Written(whole, 1 + body.count("\n"), found)

    def _examples(self, count: int) -> list[Example]:
        if self.test is None or self.wanted is None:
            return []
        texts = [t for p in self.test.pairs for t in (p.clean, p.corrupted)]
        token = self.model.tokenizer.token
        every = zip(
            texts, token_rows(self.test), self.wanted, self.test.answer.tolist(), strict=True
        )
        return [
            Example(text, ids.tolist(), logits.tolist(), token(answer))
            for text, ids, logits, answer in list(every)[: 2 * count]
        ]


def _validation(model: Model, circuit: Circuit, corpus: str | None) -> Prompts | None:
    """Validation prompts of a circuit's task whose answers it knows; None where there are none."""
    task = named(circuit.task)
    if task is None:
        return None
    try:
        longest = circuit.config.max_tokens
        made = prompts(
            task,
            Corpus.parse(corpus or model.corpus),
            model.tokenizer,
            "validation",
            SAMPLE,
            min(longest, model.network.config.context),
            circuit.seed,
        )
    except DataError:
        return None
    answers = made.answer.view(-1, 2)
    known = [i for i, both in enumerate(answers.tolist()) if set(both) <= set(circuit.answers)]
    return made.take(known) if known else None


def _encoded(model: Model, pairs: Sequence[Pair]) -> Prompts | None:
    return encode(pairs, model.tokenizer, model.network.config.context) if pairs else None


def _place(model: Model) -> str:
    """Where a model is, from any folder."""
    return model.source if model.source.startswith(BUILTIN) else str(Path(model.source).absolute())


def _task(circuit: Circuit) -> str:
    return Path(circuit.task).name


def _head(circuit: Circuit, plan: Plan, found: Agreement | None, title: str) -> str:
    """What stands above a program."""
    lines = [
        title,
        "",
        f"Model {circuit.model_id}, {circuit.n_nodes} nodes, {circuit.n_edges} edges, "
        f"{circuit.ablation} ablation, seed {circuit.seed}.",
    ]
    if found is not None:
        lines += [
            f"On {found.prompts} test prompts: the circuit's answer on {found.same:.1%};",
            f"task loss {found.loss:.4f} nats, the circuit's {found.circuit_loss:.4f};",
            f"margins {found.mean:.1e} nats apart on average, a logit at most {found.largest:.1e}.",
        ]
    if plan.idle:
        lines += ["", "Kept nodes that no answer depends on:", *(f"    {n}" for n in plan.idle)]
    lines += [
        "",
        "    python FILE     checks the program on the prompts it carries",
        "    python FILE TEXT ...    says what it predicts after a text (needs lacewing)",
        "    circuit(ids)    the answers' logits after some token ids",
        "",
        "Values are one number per token. Everything outside the circuit is a constant, and has",
        "been added up into the constants below. A comment names the node (LAYER.SITE.CHANNEL),",
        "then who reads it (->), and of a table the tokens that weigh most in the prompts.",
        "",
    ]
    return "\n".join(lines)
