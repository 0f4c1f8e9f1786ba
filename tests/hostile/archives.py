"""Wheels, and what can be wrong with them."""

import hashlib
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path

INFO = "one-1.0.dist-info"


def code(name: str, count: int = 12) -> str:
    """A file of functions that no other name has."""
    return "".join(
        f"def {name}_{i}(value):\n    {name}_total = value + {i}\n    return {name}_total\n"
        for i in range(count)
    )


def members(name: str) -> dict[str, bytes]:
    """What a wheel holds."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense-Expression: MIT\n"
    found = {f"{name}/{part}.py": code(f"{name}_{part}") for part in "abc"}
    found[f"{info}/METADATA"] = metadata
    found[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    found[f"{info}/RECORD"] = ""
    return {inside: content.encode() for inside, content in found.items()}


def write(path: Path, inside: Mapping[str, bytes], packed: int = zipfile.ZIP_STORED) -> None:
    """A wheel of one date, so of one hash."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", packed) as archive:
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, content in inside.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = packed
            archive.writestr(entry, content)


def line(path: Path, split: str = "train") -> str:
    """The line of a list that pins a wheel."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{path.name.partition('-')[0]}==1.0 --hash=sha256:{digest}  # MIT, {split}"


PATHS = (
    "../../X.py",
    "/etc/X.py",
    "C:\\X.py",
    "one/..\\..\\X.py",
    "one/\x00.py",
    "one/\x1b[31m.py",
)
PATHS += (
    "one/" + "d/" * 2000 + "x.py",
    "one/<script>alert(1)</script>.py",
    "",
    "x" * 60_000 + ".py",
)


def named(path: Path, dice: random.Random) -> str:
    """A member with a hostile name."""
    name = dice.choice(PATHS)
    write(path, members("one") | {name: b"x = 1\n" * 40})
    return f"a member {name[:40]!r}"


def bomb(path: Path, dice: random.Random) -> str:
    """A member that unpacks to gigabytes of zeros or lines."""
    name = dice.choice(("one/big.py", f"{INFO}/METADATA", "one/data.bin"))
    deflated = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with warnings.catch_warnings(), deflated as archive:
        warnings.simplefilter("ignore")
        for inside, content in members("one").items():
            archive.writestr(zipfile.ZipInfo(inside), content)
        with archive.open(name, "w", force_zip64=True) as file:
            for _ in range(dice.choice((10, 300))):
                file.write(b"x = 1\n" * 170_000)
    return f"a bomb in {name}"


def lying(path: Path, dice: random.Random) -> str:
    """A bomb whose directory says it is small."""
    bomb(path, dice)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        if struct.unpack_from("<I", content, at + 24)[0] > 10**6:
            struct.pack_into("<I", content, at + 24, dice.choice((0, 100, 2**31)))
        at = content.find(b"PK\x01\x02", at + 4)
    path.write_bytes(content)
    return "a bomb that lies"


def link(path: Path, dice: random.Random) -> str:
    """A member that is a symbolic link."""
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in members("one").items():
            archive.writestr(zipfile.ZipInfo(inside), content)
        entry = zipfile.ZipInfo("one/link.py")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "../../outside/secret.txt")
    return "a link"


def source(path: Path, dice: random.Random) -> str:
    """Python that is too deep, too long or no Python, none of which may run."""
    text = dice.choice(
        (
            "x = " + "(" * 5000 + ")" * 5000 + "\n",
            "x = " + "-" * 200_000 + "1\n",
            "x = 1" + "0" * 5000 + "\n",
            "open('canary', 'w').write('sings')\n" * 40,
            "x = '\\N{" + "A" * 9999 + "}'\n",
            "if x:\n" + "".join("\t" * i + "if x:\n" for i in range(1, 120)),
            "\x00" * 100,
            "# coding: rot13\n" * 40,
            "f'" + "{" * 500 + "1" + "}" * 500 + "'\n",
            "a." * 50_000 + "b\n",
        )
    )
    write(path, members("one") | {"one/a.py": text.encode()})
    return f"source {text[:30]!r}"


def metadata(path: Path, dice: random.Random) -> str:
    """Another METADATA, or none, or several."""
    kind = dice.choice(("none", "empty", "long", "escape", "many", "other"))
    inside, name = members("one"), f"{INFO}/METADATA"
    if kind == "none":
        del inside[name]
    elif kind == "many":
        inside |= {f"x{i}.dist-info/METADATA": inside[name] for i in range(50)}
    else:
        said = {
            "empty": "",
            "long": "License: " + "MIT " * 200_000,
            "escape": "License: MIT\x1b[31m",
        }
        inside[name] = said.get(kind, "License: GPL-3.0 <script>\nName: ../../X").encode()
    write(path, inside)
    return f"metadata: {kind}"


def locked(path: Path, dice: random.Random) -> str:
    """Members that say they are encrypted, or packed in an unknown way."""
    content = bytearray(path.read_bytes())
    offset, value = dice.choice(((8, 1), (10, 99), (10, 93), (8, 0x800)))
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<H", content, at + offset, value)
        at = content.find(b"PK\x01\x02", at + 4)
    path.write_bytes(content)
    return f"flags {offset}: {value}"


CHANGES: tuple[Callable[[Path, random.Random], str], ...] = (
    named,
    named,
    bomb,
    lying,
    link,
    source,
)
CHANGES += (source, metadata, locked)


def recipe(root: Path, place: Path) -> None:
    """A list of two packages and the folder where pip finds them."""
    (place / "index").mkdir(parents=True)
    lines = []
    for name, split in (("one", "train"), ("two", "validation")):
        wheel = place / "index" / f"{name}-1.0-py3-none-any.whl"
        write(wheel, members(name))
        lines.append(line(wheel, split))
    (place / "recipe.txt").write_text("\n".join(["# packages", *lines]) + "\n")


def corpus(root: Path, place: Path) -> None:
    """What is built of them."""
    from hostile.material import say

    with chdir(root):
        say(["corpus", "build", str(root / "recipe" / "recipe.txt"), "--output", str(place)])


def parts(root: Path, place: Path) -> None:
    """A corpus that was interrupted when all packages were there."""
    from lacewing.data import build
    from lacewing.data.packages import read_list

    with chdir(root):
        for package in read_list(root / "recipe" / "recipe.txt"):
            build._part(package, place / build.PARTS)
