"""The whole file of a program: head, helpers, the circuit, its check, tables and prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lacewing.programs.lines import Plan
from lacewing.programs.names import Names
from lacewing.programs.text import INDENT, Printer

SPARSE = '''def sparse(entries, size=VOCABULARY):
    """A row of zeros but for some entries: {place: value}, or a text of place:value."""
    if isinstance(entries, str):
        entries = {int(p): float(v) for p, v in (e.split(":") for e in entries.split())}
    row = np.zeros(size)
    row[list(entries)] = list(entries.values())
    return row
'''
MATRIX = '''def matrix(text, shape):
    """A matrix of zeros but for the entries row:column:value of a text."""
    table = np.zeros(shape)
    for entry in text.split():
        row, column, value = entry.split(":")
        table[int(row), int(column)] = float(value)
    return table
'''
ATTEND = '''def attend(ids, logits, sink=-np.inf):
    """Who looks at whom: softmax over a token and those before it; the sink takes its share."""
    seen = np.where(np.tri(len(ids), dtype=bool), logits, -np.inf)
    most = np.maximum(seen.max(1, keepdims=True), sink)
    weights = np.exp(seen - most)
    return weights / (weights.sum(1, keepdims=True) + np.exp(sink - most))
'''
GELU = '''def gelu(x):
    """The exact GELU."""
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))
'''
TOP = '''def top(room, values, rivals=(), fixed=()):
    """AbsTopK: zero where `room` or more of the others are larger in magnitude."""
    others = np.abs([*values, *rivals])
    kept = []
    for value in values:
        size = np.abs(value) * (1 + 1e-6)
        above = (others > size).sum(0) + (np.asarray(fixed)[:, None] > size).sum(0)
        kept.append(np.where(above < room, value, 0))
    return kept
'''
CUT = '''def cut(values, rms, bounds, rivals, before):
    """AbsTopK of a read: the more rivals are larger, the larger a value has to be.

    Of equals the first stays: `before` counts, for every value, the rivals that come before it.
    """
    kept = []
    for value, first in zip(values, before):
        size = np.abs(value) * rms
        above = np.zeros(len(size), int)
        for number, rival in enumerate(rivals):
            above += np.abs(rival) > size * (1 - 1e-6 if number < first else 1 + 1e-6)
        enough = size * (1 + 1e-6) >= bounds[np.arange(len(size)), above]
        kept.append(np.where(enough, value, 0))
    return kept
'''
DROP = '''def drop(value, ids, lost):
    """AbsTopK of a read that token and position decide: zero where the value is lost."""
    return np.where(np.isin(ids * CONTEXT + np.arange(len(ids)), lost), 0, value)
'''
BEYOND = '''def beyond(size, value):
    """AbsTopK with a fixed threshold: zero where the value is no larger than it."""
    return np.where(np.abs(value) > size, value, 0)
'''
HELPERS = {
    "sparse(": SPARSE,
    "matrix(": MATRIX,
    "attend(": ATTEND,
    "gelu(": GELU,
    "top(": TOP,
    "cut(": CUT,
    "drop(": DROP,
    "beyond(": BEYOND,
}
ASK = '''def ask(text):
    """Say what the circuit predicts after a text; lacewing is needed, for the model's tokenizer."""
    from lacewing.model.shipped import tokenizer_of

    logits = circuit(tokenizer_of(MODEL).encode(text)[-CONTEXT:])
    said = list(ANSWERS.values())[int(np.argmax(logits))]
    every = ", ".join(f"{a!a} {value:.3g}" for a, value in zip(ANSWERS.values(), logits))
    print(f"{text[-48:]!a} -> {said!a}  (logits: {every})")
'''
CHECK = '''def check():
    """Run the prompts below, and compare with what the circuit in the network said."""
    worst, same, right = 0.0, 0, 0
    for text, ids, wanted, answer in PROMPTS:
        logits = circuit(ids)
        said = list(ANSWERS.values())[int(np.argmax(logits))]
        worst = max(worst, np.abs(logits - wanted).max())
        same += int(np.argmax(logits) == np.argmax(wanted))
        right += int(said == answer)
        print(f"{text[-48:]!a:>56} -> {said!a}  right: {answer!a}")
    print(f"{len(PROMPTS)} prompts: the circuit's answer on {same}, the right one on {right}; "
          f"largest difference from the circuit's logits {worst:.1e}")
    return worst


if __name__ == "__main__":
    if sys.argv[1:]:
        for prompt in sys.argv[1:]:
            ask(prompt)
    elif PROMPTS:
        sys.exit(int(check() > 1e-4))
    else:
        print(f"no prompts are carried here; give one: python {sys.argv[0]} TEXT")
'''


@dataclass(frozen=True)
class Example:
    """A prompt that a file carries for its check."""

    text: str
    ids: Sequence[int]
    logits: Sequence[float]
    """The circuit's, in the order of the answers."""
    answer: str
    """The right one."""


def page(
    plan: Plan,
    names: Names,
    head: str,
    examples: Sequence[Example],
    source: str,
    *,
    digits: int = 9,
    inline: int | None = None,
    exact: bool = True,
) -> str:
    """The text of a file.

    Args:
        plan: The program.
        names: Of its parts.
        head: What stands above everything, as plain text.
        examples: Prompts for the check.
        source: Where the model is, whose tokenizer reads a user's text.
        digits: Significant digits of its numbers.
        inline: Largest table that is written where it is used.
        exact: Whether the check fails where a logit differs by more than 1e-4.
    """
    printer = Printer(plan, names, digits=digits, most=inline)
    body = printer.body()
    vocabulary = len(names.counts)
    program = "\n".join([*_function(plan, names, body), ""])
    tables = "\n".join(printer.tables.values())
    used = program + tables
    helpers = [text for call, text in HELPERS.items() if call in used]
    imports = ["math"] * ("gelu(" in used) + ["sys"]
    checking, _, ending = CHECK.partition("\n\n\n")
    answers = ", ".join(f"{token}: {names.tokens(token)!r}" for token in plan.answers)
    constants = [
        f"ANSWERS = {{{answers}}}  # token id: text, in the order of the logits",
        f"CONTEXT, VOCABULARY = {plan.context}, {vocabulary}",
        f"MODEL = {plain(repr(source))}  # where its tokenizer is",
    ]
    if "EPS" in used:
        constants.append(f"EPS = {float(np.finfo(np.float32).eps)!r}")
    return "\n".join(
        [
            docstring(head),
            *(f"import {name}" for name in imports),
            "",
            "import numpy as np",
            "",
            *constants,
            "",
            "",
            program,
            "",
            "\n\n".join(helpers),
            "",
            ASK,
            "",
            checking,
            "",
            "",
            *([tables, "", ""] if tables else []),
            _prompts(examples),
            "",
            ending if exact else ending.replace("sys.exit(int(check() > 1e-4))", "check()"),
        ]
    )


def docstring(text: str) -> str:
    """Any text as a module's docstring."""
    safe = plain(text)
    for sign in ("\\", '"'):
        safe = safe.replace(sign, "\\" + sign)
    return f'"""{safe}"""\n'


def plain(text: str) -> str:
    """A text in printable ASCII and newlines, everything else as backslash and code."""
    return "".join(
        sign if sign == "\n" or (sign.isascii() and sign.isprintable()) else ascii(sign)[1:-1]
        for sign in text
    )


def _function(plan: Plan, names: Names, body: list[str]) -> list[str]:
    """The circuit itself."""
    logits = ", ".join(f"{names[name]}[-1]" for name in plan.answers.values())
    return [
        "def circuit(ids):",
        f'{INDENT}"""Logits of the answers, in the order of ANSWERS, after some token ids."""',
        f"{INDENT}ids = np.asarray(ids)",
        f"{INDENT}if not 0 < len(ids) <= CONTEXT:",
        f'{INDENT * 2}raise ValueError(f"{{len(ids)}} tokens; there must be 1 to {{CONTEXT}}")',
        *([f"{INDENT}at = np.arange(len(ids))"] if any("[at]" in line for line in body) else []),
        *body,
        f"{INDENT}return np.array([{logits}])",
    ]


def _prompts(examples: Sequence[Example]) -> str:
    """The prompts, readable: one source line of a prompt per line of the file."""
    lines = ["PROMPTS = [  # text, token ids, the circuit's logits, the right answer"]
    for example in examples:
        pieces = example.text.splitlines(keepends=True) or [""]
        lines.append(f"{INDENT}(")
        lines += [f"{INDENT * 2}{piece!r}" for piece in pieces[:-1]]
        lines.append(f"{INDENT * 2}{pieces[-1]!r},")
        ids = [f"{i}," for i in example.ids]
        lines += [f"{INDENT * 2}["]
        while ids:
            taken = [ids.pop(0)]
            while ids and len(" ".join(taken)) + len(ids[0]) < 84:
                taken.append(ids.pop(0))
            lines.append(INDENT * 3 + " ".join(taken))
        lines.append(f"{INDENT * 2}],")
        logits = ", ".join(f"{value:.7g}" for value in example.logits)
        lines.append(f"{INDENT * 2}[{logits}],")
        lines.append(f"{INDENT * 2}{example.answer!r},")
        lines.append(f"{INDENT}),")
    return "\n".join([*lines, "]", ""])
