"""Text for the model made by hand, and a reference fitted on it, for the tests of watching."""

import dataclasses
import functools
import random
from collections.abc import Callable, Iterator

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.model.store import Model, model_id
from lacewing.watch.fit import fit
from lacewing.watch.monitor import Monitor
from lacewing.watch.reference import Reference
from lacewing.watch.stream import Piece

LINES = 5200
"""About what a reference needs: 60 looks of 1,024 tokens, of 12 to 14 each."""


def line(dice: random.Random, letters: str = micro.LETTERS) -> str:
    """One line with its answer."""
    first, answer = dice.choice(("XP", "YQ"))
    return f"{first}{''.join(dice.choices(letters, k=dice.randint(9, 11)))}={answer}"


def lines(count: int, seed: int, letters: str = micro.LETTERS) -> list[str]:
    """Some lines."""
    dice = random.Random(seed)
    return [line(dice, letters) for _ in range(count)]


def pieces(count: int, seed: int) -> Iterator[Piece]:
    """The same as documents of a text."""
    for number, text in enumerate(lines(count, seed)):
        yield Piece(text, str(number), True, (number + 1) / count)


def planted(model: Model) -> Circuit:
    """The circuit that is known, with pairs for the rule and the probe."""
    pairs = tuple(micro._pairs(64, 9))
    return micro.make(model, micro.PLANTED, pairs=pairs, config=micro.prune_config())


@functools.cache
def known() -> tuple[Model, Circuit, Reference]:
    """Model, circuit and reference, fitted once."""
    model = micro.micro()
    circuit = planted(model)
    return model, circuit, fit(model, [circuit], pieces(LINES, 1), told="lines", quiet=True)


def changed(change: Callable[[Model], None]) -> Model:
    """Another version of the model."""
    model = micro.micro()
    change(model)
    new = {"id": model_id(model.network, model.means, model.tokenizer), "source": "after"}
    return dataclasses.replace(model, **new)  # type: ignore[arg-type]


def watched(
    after: Model | None = None, count: int = 1000, seed: int = 2, letters: str = micro.LETTERS
) -> Monitor:
    """A monitor that has read some lines."""
    model, circuit, reference = known()
    monitor = Monitor(model, [circuit], reference, after=after, quiet=True)
    for text in lines(count, seed, letters):
        monitor.step(model.tokenizer.encode(text), ends=True)
    monitor.finish()
    return monitor
