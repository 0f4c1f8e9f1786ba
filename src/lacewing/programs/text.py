"""A plan as Python text: one line per kept node, numbers as literals, long tables at the end."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lacewing.programs.lines import (
    Drop,
    Keep,
    Line,
    Linear,
    Look,
    Plan,
    Scale,
    Table,
    Term,
    Threshold,
)
from lacewing.programs.names import Names, strongest, uses

COLUMNS = 96
SPARSE = 0.4
"""Share of nonzero entries below which a table is written as a dictionary."""
INDENT = "    "


@dataclass
class Printer:
    """Prints the lines of one plan and collects the tables they need."""

    plan: Plan
    names: Names
    digits: int = 9
    """Significant digits of numbers."""
    most: int | None = None
    """Inline a table with at most so many entries; None: all tables go to the end."""
    tables: dict[str, str] = field(default_factory=dict)
    """Definitions of tables, by name."""

    def __post_init__(self) -> None:
        self.uses = uses(self.plan)

    def body(self) -> list[str]:
        """The lines of the function, with a heading wherever the layer or the site changes."""
        printed: list[str] = []
        place = ""
        for line in self.plan.lines:
            now = heading(line)
            if now and now != place:
                printed.append(f"{INDENT}# {now}")
                place = now
            printed += [INDENT + part for part in self._line(line)]
        return printed

    def number(self, value: float) -> str:
        """A literal."""
        text = f"{value:.{self.digits}g}"
        if self.digits >= 9 and value == np.float32(value):  # a weight: as short as float32 allows
            text = repr(float(str(np.float32(value)))).removesuffix(".0")
        return "0" if text in ("-0", "0") else text

    def _line(self, line: Line) -> list[str]:
        if isinstance(line, Table):
            return self._table(line)
        if isinstance(line, Linear):
            return self._linear(line)
        if isinstance(line, Scale):
            return self._scale(line)
        if isinstance(line, Look):
            return self._look(line)
        if isinstance(line, Drop):
            name = self.names[line.name]
            self.tables[f"{name.upper()}_LOST"] = numbers(
                f"{name.upper()}_LOST", [str(c) for c in line.codes], "int"
            )
            return [f"{name} = drop({name}, ids, {name.upper()}_LOST)  # AbsTopK"]
        if isinstance(line, Threshold):
            name = self.names[line.name]
            size = self.number(line.size)
            return [f"{name} = beyond({size}, {name})  # AbsTopK"]
        assert isinstance(line, Keep)
        return self._keep(line)

    def _table(self, line: Table) -> list[str]:
        name = self.names[line.name]
        note = self._note(line.node)
        if line.by_position:
            self._define(name.upper(), line.values)
            return [f"{name} = {name.upper()}[at]{note or '  # by position'}"]
        filled = np.flatnonzero(line.values)
        inline = self.most is not None and len(filled) <= self.most
        count = 6 if inline else 4
        seen = strongest(line.values, self.names.counts, self.names.tokens, count)
        what = ", ".join(f"{token[:16]!r} {value:.2g}" for token, value in seen)
        if inline:
            entries = [f"{i}: {self.number(line.values[i])}," for i in filled] or [""]
            entries[-1] = entries[-1].removesuffix(",")
            lines = wrapped(f"{name} = sparse({{", entries, "})[ids]", " ")
            return [*_commented(lines, note, what)]
        self._define(name.upper(), line.values)
        return _commented([f"{name} = {name.upper()}[ids]"], note, what)

    def _linear(self, line: Linear) -> list[str]:
        parts = [self._term(term) for term in line.terms]
        if line.bias or not parts:
            parts.append(self.number(line.bias))
        name = self.names[line.name]
        if not line.terms:
            parts = [f"np.full(len(ids), {parts[0]})"]
        opening, closing = ("", "")
        if line.gelu:
            opening, closing = "gelu(", ")"
        elif line.over is not None:
            inside = len(parts) > 1
            opening = "(" if inside else ""
            closing = (")" if inside else "") + f" / {self.names[line.over]}"
        note = self._note(line.node)
        return _commented(wrapped(f"{name} = {opening}", signed(parts), closing, " "), note, "")

    def _term(self, term: Term) -> str:
        if term.look is None:
            value = self.names[term.name or ""]
        elif term.name is None:
            value = f"{self.names[term.look]}.sum(1)"
        else:
            value = f"({self.names[term.look]} @ {self.names[term.name]})"
        if term.weight == 1:
            return value
        if term.weight == -1:
            return f"-{value}"
        return f"{self.number(term.weight)} * {value}"

    def _scale(self, line: Scale) -> list[str]:
        parts = [self.names[line.table]] if line.table else []
        parts += [f"{self.names[name]} ** 2" for name in line.live]
        if line.constant or not parts:
            parts.append(self.number(line.constant))
        ending = f") / {line.width} + EPS)"
        return wrapped(f"{self.names[line.name]} = np.sqrt((", signed(parts), ending, " ")

    def _look(self, line: Look) -> list[str]:
        parts = [
            f"{self.number(w)} * np.outer({self.names[q]}, {self.names[k]})"
            for w, q, k in line.pairs
        ]
        parts += [f"{self.number(w)} * {self.names[k]}" for w, k in line.keys]
        parts += [f"{self.number(w)} * {self.names[q]}[:, None]" for w, q in line.queries]
        if line.constant or not parts:
            parts.append(self.number(line.constant))
        sink = "" if line.sink is None else f", {self.number(line.sink)}"
        name = self.names[line.name]
        return wrapped(f"{name} = attend(ids, ", signed(parts), f"{sink})", " ")

    def _keep(self, line: Keep) -> list[str]:
        kept = ", ".join(self.names[name] for name in line.kept)
        left = f"{kept}," if len(line.kept) == 1 else kept
        label = line.name.partition(" ")[2].replace(".", "_").upper()
        if line.bounds is not None:
            table = f"BOUNDS_{label}"
            self.tables[table] = rows(table, line.bounds, self.number)
            others = [
                (f"{self.number(w)} * " if w != 1 else "")
                + self.names[n]
                + (f" * {self.names[line.scale or '']}" if divided else "")
                for w, n, divided in line.others
            ]
            call = f"{left} = cut([{kept}], {self.names[line.scale or '']}, {table}[ids], ["
            return wrapped(call, [f"{o}," for o in others], f"], {list(line.before)})", " ")
        arguments = [str(line.room), f"[{kept}]"]
        lines: list[str] = []
        if line.rivals:
            lines, product = self._rivals(label, line.rivals)
            arguments.append(product)
        if len(line.fixed):
            table = f"FIXED_{label}"
            self._define(table, line.fixed)
            arguments.append(f"fixed={table}")
        parts = [f"{a}," for a in arguments[:-1]] + arguments[-1:]
        return [*lines, *wrapped(f"{left} = top(", parts, ")  # AbsTopK", " ")]

    def _rivals(self, label: str, rivals: Sequence[Linear]) -> tuple[list[str], str]:
        """What may push kept values out of AbsTopK: a matrix, and what it is multiplied by."""
        inputs = list(dict.fromkeys((t.name, t.look) for r in rivals for t in r.terms))
        table = np.zeros((len(rivals), len(inputs) + 1))
        for row, rival in zip(table, rivals, strict=True):
            for term in rival.terms:
                row[inputs.index((term.name, term.look))] = term.weight
            row[-1] = rival.bias
        self.tables[f"RIVALS_{label}"] = rows(f"RIVALS_{label}", table, self.number)
        parts = [self._term(Term(1.0, name, look)) for name, look in inputs]
        lines = wrapped("rivals = [", [f"{p}," for p in parts], " np.ones(len(ids))]", " ")
        product = f"RIVALS_{label} @ np.stack(rivals)"
        return lines, f"gelu({product})" if rivals[0].gelu else product

    def _define(self, name: str, values: np.ndarray) -> None:
        filled = np.flatnonzero(values)
        if len(filled) < SPARSE * len(values):
            entries = [f"{i}:{self.number(values[i])}" for i in filled]
            self.tables[name] = numbers(name, entries, f"sparse {len(values)}")
        else:
            self.tables[name] = numbers(name, [self.number(v) for v in values], "float")

    def _note(self, node: str) -> str:
        if not node:
            return ""
        readers = self.uses.get(node, [])
        channels = ", ".join(r.partition(".")[2] for r in readers[:3])
        more = f" and {len(readers) - 3} more" if len(readers) > 3 else ""
        return f"  # {node}" + (f" -> {channels}{more}" if channels else "")


def heading(line: Line) -> str:
    """Where in the network a line stands, in words."""
    node = getattr(line, "node", "")
    name = node or line.name.partition(" ")[2]
    if line.name.startswith(("logit", "unembedded", "bigram")) or "final" in line.name:
        return "the answers"
    layer, _, rest = name.partition(".")
    if not layer.isdigit():
        return ""
    if line.name.startswith(("look", "mass")) or rest.startswith("attn"):
        return f"layer {layer}, attention"
    return f"layer {layer}, MLP" if rest.startswith("mlp") else ""


def signed(parts: Sequence[str]) -> list[str]:
    """Summands with their signs between them."""
    rest = [f"- {p[1:]}" if p.startswith("-") else f"+ {p}" for p in parts[1:]]
    return [*parts[:1], *rest]


def wrapped(start: str, parts: Sequence[str], end: str, gap: str) -> list[str]:
    """One statement, in brackets over several lines where it is too long."""
    whole = start + gap.join(parts) + end
    if len(whole) <= COLUMNS or len(parts) < 2:
        return [whole]
    name, equals, opening = start.partition(" = ")
    lines, current = [f"{name}{equals}("], f"{INDENT}{opening}"
    for part in [*parts[:-1], parts[-1] + end]:
        if current.strip() and len(current) + len(part) > COLUMNS - 4:
            lines.append(current.rstrip())
            current = INDENT
        current += part + gap
    return [*lines, current.rstrip(), ")"]


def numbers(name: str, entries: Iterable[str], kind: str) -> str:
    """A definition whose numbers stand in a text, so that no line is long."""
    lines, current = [], ""
    for entry in entries:
        if len(current) + len(entry) >= COLUMNS:
            lines.append(current)
            current = ""
        current = f"{current} {entry}" if current else entry
    text = "\n".join([*lines, current])
    if kind.startswith("sparse"):
        return f'{name} = sparse("""\n{text}\n""", {kind.split()[1]})'
    return f'{name} = np.array("""\n{text}\n""".split(), {kind})'


def rows(name: str, table: np.ndarray, number: Callable[[float], str]) -> str:
    """A matrix, row by row, without its zeros: `row:column:value`."""
    entries = [f"{r}:{c}:{number(table[r, c])}" for r, c in np.argwhere(table != 0)]
    lines = numbers(name, entries, "float").replace("np.array(", "matrix(", 1)
    return lines.replace(".split(), float)", f", {table.shape})")


def _commented(lines: list[str], note: str, what: str) -> list[str]:
    """Lines with a comment behind the last, or above where it would be too long."""
    parts = [note.strip(), f"# {what}" if what else ""]
    comment = "; # ".join(filter(None, parts)).replace("; # # ", "; ")
    if not comment:
        return lines
    if len(lines) == 1 and len(lines[0]) + len(comment) + 2 <= COLUMNS:
        return [f"{lines[0]}  {comment}"]
    if len(comment) <= COLUMNS:
        return [comment, *lines]
    return [*(part for part in parts if part), *lines]
