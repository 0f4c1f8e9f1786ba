"""Damage a file, or what stands in it, or its place: drawn from a seed, told in words."""

import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from hostile import archives, pickles, tensors, values
from hostile.reseal import reseal

CANARY = "canary"


@dataclass(frozen=True)
class Mutation:
    """What was done."""

    file: str
    words: str
    resealed: bool = False
    """Whether the sums say now what the file is."""

    def __str__(self) -> str:
        return f"{self.file}: {self.words}{', resealed' if self.resealed else ''}"


Change = Callable[[Path, random.Random], str]


def mutate(
    work: Path,
    files: list[Path],
    dice: random.Random,
    named: bool = False,
    roots: tuple[str, ...] = (),
) -> Mutation:
    """Change one of some files, and half of the time its sums with it.

    Args:
        work: The case's folder, beside which `outside` lies.
        files: What may be changed, below it.
        dice: Draws file and change.
        roots: Folders that a user names, which may be links too.
        named: Whether these are files that a user names: those may be links to anywhere, or pipes.
    """
    path = dice.choice(files)
    change = dice.choice(_changes(path, dice))
    if named and change in (linked, linked_folder, pipe):
        change = nowhere
    if change is linked_folder and path.parent.relative_to(work).as_posix() in roots:
        change = linked
    words = change(path, dice)
    again = dice.random() < 0.5 and path.is_file() and reseal(path)
    return Mutation(str(path.relative_to(work)), words, again)


def _changes(path: Path, dice: random.Random) -> tuple[Change, ...]:
    """The group of changes that is drawn from: what stands in a file more often than its bytes."""
    inside: tuple[Change, ...] = {
        ".json": (in_json,) * 4 + (in_text,),
        ".jsonl": (in_lines,) * 4 + (in_text,),
        ".safetensors": (tensors.change,) * 4 + (tensors.change_header,),
        ".txt": (in_text,),
        ".whl": archives.CHANGES,
        **(dict.fromkeys((".pt", ".bin"), pickles.CHANGES) if zipfile.is_zipfile(path) else {}),
        ".yaml": (in_yaml,) * 4 + (in_text,),
        ".bpe": (in_text,),
    }.get(path.suffix, BYTES)
    return dice.choices((inside, BYTES, PLACE), (12, 5, 3))[0]


def in_json(path: Path, dice: random.Random) -> str:
    """Change one value of a JSON file."""
    changed, words = values.changed(json.loads(path.read_text()), dice)
    path.write_text(values.text(changed), encoding="utf-8", errors="surrogatepass")
    return words


def in_lines(path: Path, dice: random.Random) -> str:
    """Change one value of one line of a file of JSON lines, or the line itself."""
    lines = path.read_text().splitlines()
    if not lines:
        path.write_text('{"a": 1}\n')
        return "a line in an empty file"
    at = dice.randrange(len(lines))
    kind = dice.choice(("value",) * 5 + ("drop", "twice", "swap", "cut", "many"))
    if kind == "value":
        changed, words = values.changed(json.loads(lines[at]), dice)
        lines[at] = values.text(changed)
    else:
        words = kind
        other = dice.randrange(len(lines))
        if kind == "drop":
            del lines[at]
        elif kind == "twice":
            lines.insert(at, lines[at])
        elif kind == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "cut":
            lines[at] = lines[at][: dice.randrange(len(lines[at]) or 1)]
        else:
            lines[at:at] = [lines[at]] * 3_000
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    return f"line {at + 1}: {words}"


def in_yaml(path: Path, dice: random.Random) -> str:
    """Change one value of a YAML file, or put a bomb of names, a tag or an odd number into it."""
    if dice.random() < 0.3:
        text = dice.choice(YAML)
        path.write_text(f"sparsity: {text}\nablation_type: {text}\n", encoding="utf-8")
        return text[:40]
    changed, words = values.changed(yaml.safe_load(path.read_text()), dice)
    path.write_text(values.text(changed), encoding="utf-8", errors="surrogatepass")
    return words


YAML = (
    "!!python/object/apply:os.system ['touch canary']",
    "!!python/name:os.system",
    "&a [*a]",
    "2001-99-99",
    "2001-12-14t21:59:43.10-05:00",
    "1" + "0" * 4400,
    "0b" + "1" * 9999,
    "190:20:30:99999999",
    "!!binary 'x'",
    "!!int 'x'",
    "!!float 'x'",
    "!!timestamp 'x'",
    "? [1]\n: 2",
    "{[1]: 2}",
    "<<: *b",
    "!!set {a, b}",
    "\n  a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"  {n}: &{n} [{','.join([f'*{m}'] * 9)}]\n"
        for m, n in zip("abcdefg", "bcdefgh", strict=True)
    ),
)
"""What YAML has and JSON has not."""


def in_text(path: Path, dice: random.Random) -> str:
    """Put something hostile somewhere into a text, in place of a few characters."""
    text = path.read_bytes().decode("utf-8", "replace")
    at, length = dice.randrange(len(text) + 1), dice.choice((0, 1, 3, 20))
    what = values.text(dice.choice(values.HOSTILE)) if dice.random() < 0.5 else dice.choice(WORDS)
    path.write_text(text[:at] + what + text[at + length :], "utf-8", errors="surrogatepass")
    return f"{what[:40]!r} at {at} for {length} characters"


WORDS = (
    "{",
    "}",
    "[",
    "]",
    '"',
    ",",
    ":",
    "\\",
    "\n",
    "\x00",
    "\ufeff",
    "\x1b[31m",
    "-",
    "e9",
    ".",
)


def flip(path: Path, dice: random.Random) -> str:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    if not content:
        return extend(path, dice)
    at, bit = dice.randrange(len(content)), dice.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} flipped"


def several(path: Path, dice: random.Random) -> str:
    """Flip many bits."""
    return "; ".join(flip(path, dice) for _ in range(dice.choice((2, 16))))[:80]


def truncate(path: Path, dice: random.Random) -> str:
    """Cut the end off."""
    size = dice.choice((0, 1, dice.randrange(path.stat().st_size + 1)))
    os.truncate(path, min(size, path.stat().st_size))
    return f"cut to {size} bytes"


def extend(path: Path, dice: random.Random) -> str:
    """Add bytes at the end."""
    more = dice.choice((b"\0", b"\n", b"}", dice.randbytes(7), b"\0" * 4096, b" " * 100_000))
    with open(path, "ab") as file:
        file.write(more)
    return f"{len(more)} bytes at the end"


def noise(path: Path, dice: random.Random) -> str:
    """Replace all of it by random bytes of the same length."""
    path.write_bytes(dice.randbytes(path.stat().st_size))
    return "random bytes"


def zeros(path: Path, dice: random.Random) -> str:
    """Blank a part."""
    size = path.stat().st_size
    at = dice.randrange(size + 1)
    count = min(size - at, dice.choice((1, 16, 4096)))
    content = bytearray(path.read_bytes())
    content[at : at + count] = bytes(count)
    path.write_bytes(content)
    return f"{count} zeros at {at}"


def pickled(path: Path, dice: random.Random) -> str:
    """Put a pickle in its place that leaves a canary when it is read as one."""
    canary = path.parents[0] / CANARY
    code = f"open({str(canary)!r}, 'w').write('sings')"
    protocol0 = f"c__builtin__\nexec\n(V{code}\ntR.".encode()
    path.write_bytes(protocol0 if dice.random() < 0.5 else b"\x80\x02" + protocol0)
    return "a pickle"


def recoded(path: Path, dice: random.Random) -> str:
    """Write it in another encoding."""
    code = dice.choice(("utf-16", "utf-8-sig", "utf-32"))
    path.write_bytes(path.read_bytes().decode("latin-1").encode(code))
    return code


def gone(path: Path, dice: random.Random) -> str:
    """Take it away."""
    path.unlink()
    return "gone"


def folder(path: Path, dice: random.Random) -> str:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()
    return "a folder"


def pipe(path: Path, dice: random.Random) -> str:
    """Put a named pipe in its place, which nobody writes to."""
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


def linked(path: Path, dice: random.Random) -> str:
    """Move it outside and leave a link to it, or a link to the secret, or one in a circle."""
    outside = beyond(path)
    kind = dice.choice(("moved", "secret", "circle", "dead"))
    if kind == "moved":
        shutil.move(path, outside / path.name)
        path.symlink_to(outside / path.name)
    else:
        path.unlink()
        to = {"secret": outside / "secret.txt", "circle": path, "dead": outside / "none"}[kind]
        path.symlink_to(to)
    return f"a link: {kind}"


def linked_folder(path: Path, dice: random.Random) -> str:
    """Move its folder outside and leave a link to that."""
    outside, parent = beyond(path), path.parent
    if "work" in (parent.name, parent.parent.name):  # what a user names may be a link
        return linked(path, dice)
    shutil.move(parent, outside / parent.name)
    parent.symlink_to(outside / parent.name)
    return "its folder is a link"


def nowhere(path: Path, dice: random.Random) -> str:
    """Leave a link in its place that leads nowhere."""
    path.unlink()
    to = dice.choice((path, path.with_name("none")))
    path.symlink_to(to)
    return "a link that leads nowhere"


def swapped(path: Path, dice: random.Random) -> str:
    """Put the content of a neighbour in its place."""
    others = sorted(p for p in path.parent.iterdir() if p.is_file() and p != path)
    if not others:
        return flip(path, dice)
    other = dice.choice(others)
    path.write_bytes(other.read_bytes())
    return f"the content of {other.name}"


def vast(path: Path, dice: random.Random) -> str:
    """Make it six gigabytes long, with a hole."""
    os.truncate(path, 6 * 2**30)
    return "six gigabytes"


BYTES: tuple[Change, ...] = (flip, flip, flip, several, truncate, extend, noise, zeros, pickled)
BYTES += (recoded,)
PLACE: tuple[Change, ...] = (
    gone,
    folder,
    pipe,
    linked,
    linked,
    linked_folder,
    swapped,
    swapped,
    vast,
)


def beyond(path: Path) -> Path:
    """The folder outside of a case's, where it must not go."""
    return next(p for p in path.parents if p.name == "work").parent / "outside"


def files_of(folder: Path) -> Iterator[Path]:
    """All files below a folder, in a fixed order."""
    yield from sorted(p for p in folder.rglob("*") if p.is_file())
