"""Build a corpus from a list of pinned packages: fetch, filter, drop duplicates, count.

    .parts/LABEL/      one package's files after the filters, with their signatures; whole or absent
    text/LABEL.jsonl   what is left when no file is like another: a line [path, code] each
    corpus.json        packages, licences, files, bytes, tokens, what was dropped and why; the id
    dropped.jsonl      every file that was left out: package, path, reason, and what it is like
    tokenizer.json     of 2,048 tokens, trained on the training text (on all, where there is none)

A file is kept in the first package of the order validation, task, train that has it, and in none
where the standard library has it, so that nothing held out is read in training. Interrupted, the
same command goes on behind the last whole package.
"""

import hashlib
import json
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from lacewing import artifacts
from lacewing.data import near
from lacewing.data.code import without_prose
from lacewing.data.corpus import (
    BUILT,
    INDEX,
    LARGEST_TEXT,
    PARTS,
    TEXT,
    BuiltIndex,
    BuiltPackage,
    decoded,
    is_built,
)
from lacewing.data.filters import generated, left_out, unlike_code
from lacewing.data.packages import Package, read_list
from lacewing.data.shards import SAMPLE, TOGETHER
from lacewing.data.source import Line, Split
from lacewing.data.tokenizer import Tokenizer
from lacewing.data.wheels import Wheel, fetch
from lacewing.errors import ArtifactError, ConfigError
from lacewing.progress import progress

RULES = 1
"""Raised when a filter changes, so that parts made by older rules are made anew."""
DROPPED, TOKENIZER = "dropped.jsonl", "tokenizer.json"
LIBRARY, SIGNATURES = "standard_library.safetensors", "signatures.safetensors"
"""Signatures of the standard libraries of Python 3.11 to 3.13 (recipes/standard_library.py)."""
FIRST: tuple[Split, ...] = ("validation", "task", "train")
"""The order in which packages keep their files."""


@dataclass
class Tally:
    """What one package gave."""

    package: Package
    said: str
    """Its licence in its own words."""
    files: int = 0
    bytes: int = 0
    tokens: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Files left out, by reason."""

    def as_json(self) -> dict[str, Any]:
        """The package's row in corpus.json."""
        row = {"label": self.package.label, **asdict(self.package), "licence_in_wheel": self.said}
        counts = {"files": self.files, "bytes": self.bytes, "tokens": self.tokens}
        return row | counts | {"dropped": dict(sorted(self.dropped.items()))}


def build(list_file: Path, output: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Build the corpus of a list into a folder, or return the one that is there.

    Args:
        list_file: Pinned packages (see `data/packages.py`).
        output: The corpus folder.
        quiet: Report no progress.

    Returns:
        What corpus.json says.

    Raises:
        DataError: the list, a package or a wheel is not as it has to be.
        ConfigError: the folder holds something else.
    """
    packages = read_list(list_file)
    key = _key(packages)
    if (output / artifacts.MANIFEST).exists():
        return _finished(output, key)
    if output.exists() and not is_built(output) and any(output.iterdir()):
        raise ConfigError(f"{output} exists and is no corpus: choose another --output")
    with progress("packages", len(packages), "packages", not quiet) as bar:
        for number, package in enumerate(packages):
            bar.update(number, package.label)
            _part(package, output / PARTS)
        bar.update(len(packages))
    tallies = _without_duplicates(packages, output, quiet)
    _count(tallies, output, quiet)
    result = _index(tallies, key, output)
    artifacts.write_json(output / INDEX, result)
    names = [INDEX, DROPPED, TOKENIZER, *(f"{TEXT}/{t.package.label}.jsonl" for t in tallies)]
    artifacts.seal(output, BUILT, names)
    shutil.rmtree(output / PARTS)
    return result


@dataclass(frozen=True)
class _Row:
    """What a split came to."""

    __pydantic_config__ = artifacts.LOOSE

    files: int
    bytes: int
    tokens: int


@dataclass(frozen=True)
class _Counted:
    """What of corpus.json is shown."""

    __pydantic_config__ = artifacts.LOOSE

    id: str
    splits: dict[str, _Row]
    dropped: dict[str, int]
    packages: tuple[BuiltPackage, ...]


def check(folder: Path) -> dict[str, Any]:
    """Compare every file of a corpus with the hash that its manifest has.

    Raises:
        ArtifactError: a file is missing, damaged or changed, or the folder is no whole corpus.
    """
    whole = artifacts.open_folder(folder, BUILT)
    whole.check()
    whole.read(INDEX, _Counted)
    saved: dict[str, Any] = whole.json(INDEX)
    return saved


def _finished(output: Path, key: str) -> dict[str, Any]:
    whole = artifacts.open_folder(output, BUILT)
    whole.read(INDEX, _Counted)
    saved: dict[str, Any] = whole.json(INDEX)
    if whole.read(INDEX, BuiltIndex).list != key:
        raise ConfigError(
            f"{output} holds the corpus of another list: choose another --output; nothing was "
            "overwritten"
        )
    return saved


def _key(packages: Sequence[Package]) -> str:
    plain = json.dumps([RULES, sorted(p.requirement + p.split for p in packages)])
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _part(package: Package, parts: Path) -> None:
    """One package's files after the filters, as a whole folder."""
    folder = artifacts.own(parts, package.label)
    if _made_as(folder) == (RULES, package.hash):
        return
    with tempfile.TemporaryDirectory(dir=_made(parts)) as temporary:
        wheel = Wheel(fetch(package, Path(temporary)), package)
        kept: list[tuple[str, str]] = []
        dropped: list[tuple[str, str]] = []
        for path, content in wheel.files():
            reason, code = _filtered(path, content)
            if reason is None:
                kept.append((path, code))
            else:
                dropped.append((path, reason))
    artifacts.write_folder(
        folder,
        "part",
        files={"files.jsonl": _lines(kept)},
        json={
            "facts.json": {
                "key": [RULES, package.hash],
                "licence": wheel.licence,
                "dropped": dropped,
            }
        },
        tensors={SIGNATURES: {"values": _signatures(code for _, code in kept)}},
        replace=True,
    )


@dataclass(frozen=True)
class _Facts:
    """facts.json of a part."""

    __pydantic_config__ = artifacts.LOOSE

    key: tuple[int, str]
    """Rules, and the hash of the wheel."""
    licence: str
    dropped: tuple[tuple[str, str], ...]
    """Path and reason of every file that was left out."""


def _made_as(folder: Path) -> tuple[int, str] | None:
    """What a part was made by; None where it is not whole, and so made anew."""
    try:
        whole = artifacts.open_folder(folder, "part")
        whole.check()
        return whole.read("facts.json", _Facts).key
    except ArtifactError:
        return None


def _filtered(path: str, content: bytes | None) -> tuple[str | None, str]:
    """Why a file is left out, or its source without prose."""
    if reason := left_out(path) or ("large" if content is None else None):
        return reason, ""
    text = decoded(content or b"")
    if text is None:
        return "not UTF-8", ""
    if generated(text):
        return "generated", ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes that Python finds odd are not ours to mend
        code = without_prose(text)
    return ("not Python", "") if code is None else (unlike_code(code), code)


def _signatures(codes: Iterable[str]) -> torch.Tensor:
    """A row per file; rows of zeros where a file has too few lines to compare."""
    rows = [near.signature(code) for code in codes]
    none = np.zeros(near.SIZE, dtype=np.uint32)
    values = [none if row is None else row for row in rows]
    return torch.from_numpy(np.array(values, dtype=np.int64).reshape(-1, near.SIZE)).to(
        torch.uint32
    )


def _without_duplicates(packages: list[Package], output: Path, quiet: bool) -> list[Tally]:
    """Write every package's text without the files that are like one seen before."""
    seen, same = near.Seen(), _library()
    for name, values in same.items():
        seen.add(name, values)
    digests: dict[str, str] = {}
    tallies: dict[str, Tally] = {}
    dropped: list[dict[str, str]] = []
    order = sorted(packages, key=lambda p: FIRST.index(p.split))
    with progress("duplicates", len(order), "packages", not quiet) as bar:
        for number, package in enumerate(order):
            bar.update(number, package.label)
            tally, kept, gone = _own(package, output / PARTS, seen, digests)
            artifacts.write_bytes(output / TEXT / f"{package.label}.jsonl", _lines(kept))
            tallies[package.name] = tally
            dropped += gone
    artifacts.write_bytes(output / DROPPED, b"".join(_line(row) for row in dropped))
    return [tallies[package.name] for package in packages]


def _own(
    package: Package, parts: Path, seen: near.Seen, digests: dict[str, str]
) -> tuple[Tally, list[tuple[str, str]], list[dict[str, str]]]:
    """A package's tally, the files that are its own, and those that are not."""
    folder = parts / package.label
    part = artifacts.open_folder(folder, "part")
    facts = part.read("facts.json", _Facts)
    tally = Tally(package, facts.licence, dropped=Counter(r for _, r in facts.dropped))
    gone = [{"package": package.label, "path": p, "reason": r} for p, r in facts.dropped]
    kept = []
    rows = list(part.lines("files.jsonl", Line, LARGEST_TEXT))
    tensors = part.tensors(SIGNATURES)
    shapes = {"values": (len(rows), near.SIZE)}
    artifacts.check_tensors(tensors, part.folder / SIGNATURES, shapes, (torch.uint32,))
    values = tensors["values"].numpy()
    for (path, code), row in zip(rows, values, strict=True):
        key = f"{package.label}/{path}"
        digest = hashlib.sha256(code.encode()).hexdigest()
        whole = row.astype(np.uint32) if row.any() else None
        like = digests.get(digest) or (None if whole is None else seen.like(whole))
        if like is not None:
            reason = "copy" if digest in digests else "near copy"
            tally.dropped[reason] += 1
            gone.append({"package": package.label, "path": path, "reason": reason, "like": like})
            continue
        digests[digest] = key
        if whole is not None:
            seen.add(key, whole)
        kept.append((path, code))
        tally.files += 1
        tally.bytes += len(code.encode())
    return tally, kept, gone


def _library() -> dict[str, np.ndarray]:
    """Signatures of the standard library's files, by path."""
    path = Path(str(resources.files("lacewing"))) / "data" / LIBRARY
    values = artifacts.read_tensors(path)["values"].numpy().astype(np.uint32)
    return {f"standard library/{number}": row for number, row in enumerate(values)}


def _count(tallies: list[Tally], output: Path, quiet: bool) -> None:
    """Train the tokenizer on the training text, and count every package's tokens with it."""
    read = [t for t in tallies if t.package.split == "train"] or tallies
    stride = max(1, round(sum(t.bytes for t in read) / SAMPLE))
    tokenizer = Tokenizer.train(_sample(read, output, stride))
    tokenizer.save(output / TOKENIZER)
    with progress("tokens", len(tallies), "packages", not quiet) as bar:
        for number, tally in enumerate(tallies):
            bar.update(number, tally.package.label)
            codes = [code for _, code in _rows(output / TEXT / f"{tally.package.label}.jsonl")]
            for first in range(0, len(codes), TOGETHER):
                ids = tokenizer.encode_batch(codes[first : first + TOGETHER])
                tally.tokens += sum(len(row) + 1 for row in ids)


def _sample(tallies: list[Tally], output: Path, stride: int) -> Iterator[str]:
    """Every n-th file of some packages."""
    number = 0
    for tally in tallies:
        for _, code in _rows(output / TEXT / f"{tally.package.label}.jsonl"):
            if number % stride == 0:
                yield code
            number += 1


def _index(tallies: list[Tally], key: str, output: Path) -> dict[str, Any]:
    """What corpus.json says; its id is a hash of all text, in the order of the list."""
    digest = hashlib.sha256()
    rows = []
    for tally in tallies:
        content = (output / TEXT / f"{tally.package.label}.jsonl").read_bytes()
        own = hashlib.sha256(content).hexdigest()
        digest.update(f"{tally.package.split}:{tally.package.label}:{own}\n".encode())
        rows.append(tally.as_json() | {"sha256": own})
    totals = {
        split: {
            name: sum(row[name] for row in rows if row["split"] == split)
            for name in ("files", "bytes", "tokens")
        }
        for split in get_args(Split)
    }
    dropped: Counter[str] = Counter()
    for tally in tallies:
        dropped.update(tally.dropped)
    return {
        "id": digest.hexdigest()[:16],
        "list": key,
        "rules": RULES,
        "splits": totals,
        "dropped": dict(sorted(dropped.items())),
        "packages": rows,
    }


def _lines(rows: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(_line(list(row)) for row in rows)


def _line(row: object) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """Paths and code of a file of lines."""
    yield from artifacts.read_lines(path, Line, LARGEST_TEXT)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
