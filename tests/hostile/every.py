"""One change after another, where chance would draw most of them in no campaign.

places     every file that is attacked: as a link, a pipe, a folder, empty, six gigabytes, gone
numbers    every number of every JSON file: infinite, or none
words      every flag of every verb, with words that are files, devices or no text
"""

import functools
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import mutate, values
from hostile.campaign import Case
from hostile.judge import Probe
from hostile.mutate import Change, Mutation, files_of
from hostile.reseal import reseal
from hostile.table import Attack, Format
from hostile.verbs import PATIENCE, Verb, flags, run, without

NUMBERS = (values.Raw("Infinity"), values.Raw("NaN"))
WORDS = ("\udcff", "/dev/null", "a\nb", "x" * 300)
MANY = 40
"""Keys of an object beyond which they are alike, such as a vocabulary's: two stand for all."""

Turn = Callable[[Path], Attack]


class Numbered(random.Random):
    """Dice that also say which turn it is."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True)
class One(Case):
    """One turn of a target."""

    @property
    def dice(self) -> random.Random:
        """Of its own number."""
        return Numbered(self.number)


@dataclass(frozen=True)
class Every:
    """A target that is attacked in turns; see `campaign.Target`."""

    needs: tuple[str, ...]
    probe: Probe
    turns: tuple[Turn, ...]
    share: float = 1.0

    def attack(self, work: Path, dice: random.Random) -> Attack:
        """The change of this turn."""
        assert isinstance(dice, Numbered)
        return self.turns[dice.number](work)


def targets(table: Mapping[str, Any], root: Path) -> dict[str, Every]:
    """Every format and verb of the campaign's table that has such turns, over made material."""
    found = {}
    for name, target in table.items():
        kinds: dict[str, Iterator[Turn]] = {}
        if isinstance(target, Format):
            kinds = {"places": _places(target, root), "numbers": _numbers(target, root)}
        elif isinstance(target, Verb) and not target.waits:
            kinds = {"words": _words(target)}
        for kind, turns in kinds.items():
            if all_turns := tuple(turns):
                found[f"{kind}/{name}"] = Every(target.needs, target.probe, all_turns)
    return found


def cases(table: Mapping[str, Every], most: int, seed: int) -> list[Case]:
    """All turns, or so many of them by chance, well mixed."""
    whole = [One(name, turn, seed) for name, one in table.items() for turn in range(len(one.turns))]
    return random.Random(seed).sample(whole, min(most, len(whole)))


def _files(target: Format, root: Path) -> Iterator[str]:
    """The attacked files, as they are called in a case's folder."""
    for need in target.needs:
        inside = [root / need] if (root / need).is_file() else files_of(root / need)
        yield from (n for p in inside if target.attacks(n := str(p.relative_to(root))))


def _places(target: Format, root: Path) -> Iterator[Turn]:
    for name in _files(target, root):
        for change in NAMED if target.named else (*NAMED, *INSIDE):
            yield functools.partial(_placed, target=target, name=name, change=change)


def _placed(work: Path, target: Format, name: str, change: Change) -> Attack:
    path = work / name
    within = path.parent.relative_to(work).as_posix()
    if change is mutate.linked_folder and within in (*target.roots, *target.needs, "."):
        change = _moved  # what a user names may be a link
    words = change(path, random.Random(0))
    return target.attack_by(Mutation(name, words))


def _moved(path: Path, dice: random.Random) -> str:
    to = mutate.beyond(path) / path.name
    shutil.move(path, to)
    path.symlink_to(to)
    return "a link to where it is now"


def _dead(path: Path, dice: random.Random) -> str:
    path.unlink()
    path.symlink_to(path.with_name("none"))
    return "a link to nothing"


def _empty(path: Path, dice: random.Random) -> str:
    path.write_bytes(b"")
    return "empty"


NAMED: tuple[Change, ...] = (_dead, _empty, mutate.folder, mutate.gone, mutate.vast)
INSIDE: tuple[Change, ...] = (_moved, mutate.linked_folder, mutate.pipe)
"""What a user may do to files that a user names."""


def _numbers(target: Format, root: Path) -> Iterator[Turn]:
    for name in _files(target, root):
        if name.endswith(".json"):
            for place in _leaves(json.loads((root / name).read_text()), ()):
                for new in NUMBERS:
                    yield functools.partial(_numbered, target=target, name=name, at=place, new=new)


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Where numbers stand in a document; the first two of a list stand for all."""
    if isinstance(value, dict):
        for key in list(value)[: None if len(value) <= MANY else 2]:
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for number, inside in enumerate(value[:2]):
            yield from _leaves(inside, (*path, number))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def _numbered(work: Path, target: Format, name: str, at: tuple[Any, ...], new: Any) -> Attack:
    path = work / name
    path.write_text(values.text(values.put(json.loads(path.read_text()), at, new)))
    words = f"{'.'.join(map(str, at))} = {new.text}"
    return target.attack_by(Mutation(name, words, reseal(path)))


def _words(target: Verb) -> Iterator[Turn]:
    for flag in flags(target.words[0]):
        for word in WORDS:
            yield functools.partial(_worded, target=target, flag=flag, word=word)


def _worded(work: Path, target: Verb, flag: str, word: str) -> Attack:
    words = (*without(list(target.words), flag), flag, word)
    probe = functools.partial(run, words=words)
    return Attack(f"{flag} {word!r:.50}", probe, True, target.starts, True, PATIENCE)
