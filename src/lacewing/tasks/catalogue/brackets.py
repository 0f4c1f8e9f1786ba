"""Tasks about brackets."""

from collections.abc import Iterator
from random import Random

from lacewing.tasks.catalogue.lines import builtin, indented, known, some_slots
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile

QUOTED = (('":', '",'), ("':", "',"))
BARE = (":", ",")


@builtin([*QUOTED, BARE], origin="composed")
def bracket_brace(file: SourceFile, random: Random) -> Iterator[Draft]:
    """In a dict or in a list: `d = {"a": 1, "b` -> `":`, `d = ["a", 1, "b` -> `",`.

    Composed: a line in a function of the file, with names that the file binds as variable, keys and
    values. Where a tokenizer has no `":` or `':`, the keys are bare names and the answers `:`, `,`.
    """
    for slot in some_slots(file, random):
        variable, *keys = known(file, slot.line, random, 5) or [""]
        if len(keys) < 3:
            continue
        values = keys[-1], str(random.randrange(10))
        entries = [(key, random.choice(values)) for key in keys[1:-1]]
        for answers in (*QUOTED, BARE):
            quote = answers[0][:-1]
            clean, corrupted = (
                indented(slot, f"{variable} = {bracket}")
                + "".join(f"{quote}{key}{quote}{mark} {value}, " for key, value in entries)
                + f"{quote}{keys[0]}"
                for bracket, mark in ("{:", "[,")
            )
            yield Draft(clean, corrupted, slot.line, answers, natural=False)


@builtin(
    [("]]\n", "]\n"), ("]]", "]"), ("],", "]\n"), ("],", "]")],
    origin="composed",
)
def bracket_counting(file: SourceFile, random: Random) -> Iterator[Draft]:
    """How deep a list is nested: `values = [[5, 3, 11` -> `]]`, `values = [5, 3, 11` -> `]`.

    Composed: a list of small numbers in a function of the file, assigned to a name that the file
    binds near by. Where a tokenizer has no `]]`, the inner row's `],` stands in for it.
    """
    for slot in some_slots(file, random):
        for name in known(file, slot.line, random, 1):
            numbers = ", ".join(str(random.randrange(1, 20)) for _ in range(random.randint(2, 6)))
            clean, corrupted = (
                indented(slot, f"{name} = {opening}{numbers}") for opening in ("[[", "[")
            )
            yield Draft(clean, corrupted, slot.line, natural=False)
