"""A corpus: text files, without duplicates, each in one of three splits for good.

    train 80 %        what models are trained on
    validation 5 %    what their loss is measured on
    task 15 %         what task prompts are cut from, so that no prompt was trained on

The split of a file follows from a hash of the last two parts of its path, so that the same module
in another Python version, or a vendored copy of it in another package, falls into the same split
(a folder `python3.11` counts as `lib`).
"""

import functools
import hashlib
import os
import re
import site
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lacewing import artifacts
from lacewing.data import paths
from lacewing.data.cleaned import Cleaner, cleaner
from lacewing.data.source import CorpusSummary, Found, Line, Source, Split
from lacewing.data.taught import with_taught_lines
from lacewing.errors import DataError

SHARES: tuple[tuple[Split, float], ...] = (("train", 0.80), ("validation", 0.85), ("task", 1.0))
"""Splits with the upper ends of their shares of the hash range."""

LARGEST = 2_000_000
"""Bytes above which a file is data rather than code, and left out."""

LARGEST_TEXT = 2**31
"""Bytes above which the text of one package of a built corpus is none."""

TESTS = frozenset(
    ("test", "tests", "testing", "idle_test", "lib2to3", "site-packages", "__pycache__", "_bundled")
)
"""Folders left out of Python corpora: tests repeat themselves, bundles are no source."""

VERSIONED = re.compile(r"^python\d(\.\d+)?t?$")
"""The library's folder: its name holds the version (python3.11, python3.13t; Lib on Windows)."""

BUILT, INDEX, TEXT, PARTS = "corpus", "corpus.json", "text", ".parts"
"""A built corpus: its kind, what it is made of, the text, and what is there while it is made."""

HUB, CODE, TAUGHT = "hub:", "code:", "taught:"
PRACTICE = "practice:"
"""What taught text was called once; runs of that time have it in their configuration."""
NAMED = {"standard_library", "installed_packages"}
INSTEAD = (
    "say where the text is with --corpus: a folder, a glob, standard_library, installed_packages "
    "or hub:NAME"
)


@dataclass(frozen=True)
class Document:
    """One text."""

    path: str
    """Where it comes from, relative to the corpus, with forward slashes."""
    text: str
    split: Split = "train"


class Named(str):
    """A corpus as a file names it, such as a run's: nobody has asked for it yet.

    What would have to be fetched is not, until somebody does.
    """

    def removeprefix(self, prefix: str, /) -> "Named":
        """The same without its beginning."""
        return Named(super().removeprefix(prefix))


class Corpus:
    """Documents behind a short text, `spec`, that `Corpus.parse` turns back into the corpus.

    Paths in it are absolute, so that it can be read from any folder.
    """

    def __init__(
        self,
        spec: str,
        sources: Iterable[Source],
        code_only: bool = False,
        taught: bool = False,
    ) -> None:
        self.spec = spec
        self._sources = tuple(sources)
        self._code_only = code_only
        self._taught = taught
        self._written: dict[int, Document] = {}
        self._documents: list[Document] | None = None
        self._summary = CorpusSummary()

    def __repr__(self) -> str:
        """The text that gives it back."""
        return f"Corpus.parse({self.spec!r})"

    @classmethod
    def standard_library(cls) -> "Corpus":
        """The running interpreter's own Lib, without tests."""
        return cls("standard_library", [_PythonTree([Path(sysconfig.get_path("stdlib"))])])

    @classmethod
    def installed_packages(cls) -> "Corpus":
        """The Python source of all packages installed beside this interpreter, without tests."""
        folders = [*site.getsitepackages(), sysconfig.get_path("purelib")]
        base = Path(sysconfig.get_path("stdlib")) / "site-packages"
        return cls("installed_packages", [_PythonTree([*map(Path, folders), base])])

    @classmethod
    def built(cls, folder: Path) -> "Corpus":
        """What `lacewing corpus build` left in a folder: packages, each in one split whole."""
        place = paths.absolute(str(folder))
        return cls(place, [_Built(Path(place))])

    @classmethod
    def files(cls, pattern: str) -> "Corpus":
        """All files of a folder, or those a glob pattern matches (`**` crosses folders)."""
        place = paths.absolute(pattern)
        return cls(place, [_Glob(place)])

    @classmethod
    def hub(cls, name: str, config: str | None = None, column: str = "text") -> "Corpus":
        """A data set of the Hugging Face Hub, streamed (needs the extra `lacewing[hub]`)."""
        from lacewing.data.hub import HubDataset

        spec = ":".join(
            [HUB + name, *([config or ""] if config or column != "text" else []), column]
        )
        return cls(spec if spec.count(":") > 2 else HUB + name, [HubDataset(name, config, column)])

    @classmethod
    def parse(cls, spec: str) -> "Corpus":
        """The corpus of a text: a name, a folder, a glob, hub:NAME, or several joined by +.

        With `code:` in front, comments and docstrings are left out (see `code.without_prose`). With
        `taught:` in front of all, training files get lines of tasks (see `data/taught.py`).
        The two named corpora do not change while a program runs, so they are read only once.

        Example:
            >>> Corpus.parse("code:standard_library")
            Corpus.parse('code:standard_library')
        """
        if isinstance(spec, Named) and any(n.startswith(HUB) for n in plain(spec).split("+")):
            raise DataError(
                f"the model says that its text is {spec:.80}, and nothing is fetched unless you "
                f"ask: give it yourself with --corpus"
            )
        return _named(spec) if set(plain(spec).split("+")) <= NAMED else cls._parsed(spec)

    @classmethod
    def _parsed(cls, spec: str) -> "Corpus":
        spec = renamed(spec)
        if spec.startswith(TAUGHT):
            inner = cls._parsed(spec.removeprefix(TAUGHT))
            return cls(TAUGHT + inner.spec, inner._sources, inner._code_only, taught=True)
        if spec.startswith(CODE):
            inner = cls._parsed(spec.removeprefix(CODE))
            return cls(CODE + inner.spec, inner._sources, code_only=True)
        if len(names := paths.parts(spec)) > 1:
            joined = [cls._parsed(name) for name in names]
            sources = [source for part in joined for source in part._sources]
            return cls("+".join(part.spec for part in joined), sources)
        if spec == "standard_library":
            return cls.standard_library()
        if spec == "installed_packages":
            return cls.installed_packages()
        if spec.startswith(HUB):
            name, *rest = spec.removeprefix(HUB).split(":")
            return cls.hub(name, (rest[0] or None) if rest else None, *rest[1:2])
        return cls.built(Path(spec)) if is_built(Path(spec)) else cls.files(spec)

    @property
    def id(self) -> str | None:
        """Ids of the built corpora in it, joined by +; none where there are none."""
        built = [source.id for source in self._sources if isinstance(source, _Built)]
        return "+".join(built) or None

    def documents(self, split: Split | None = None) -> Iterator[Document]:
        """The documents of one split, or all, in a fixed order.

        Raises:
            DataError: the corpus, or this split of it, is empty.
        """
        empty = True
        for number, document in enumerate(self._read()):
            if split is None or document.split == split:
                empty = False
                yield self._with_lines(number) if document.split == "train" else document
        if empty:
            raise DataError(
                f"corpus {self.spec!r} has no files in its {split} split ({self._summary.files} "
                "in all): "
                "give it more text"
            )

    def summary(self) -> CorpusSummary:
        """What was read and what was left out."""
        self._read()
        return self._summary

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any path, text or split."""
        digest = hashlib.sha256()
        for document in self.documents():
            digest.update(f"{document.split}:{document.path}".encode())
            digest.update(hashlib.sha256(document.text.encode()).digest())
        return digest.hexdigest()[:16]

    def _with_lines(self, number: int) -> Document:
        """A training document, with taught lines where asked for; written once, when needed."""
        document = self._read()[number]
        if not self._taught:
            return document
        if number not in self._written:
            text = with_taught_lines(document.text, document.path)
            self._written[number] = Document(document.path, text, document.split)
        return self._written[number]

    def _read(self) -> list[Document]:
        if self._documents is None:
            self._summary = CorpusSummary()  # a read that failed half-way counted some files
            with cleaner() if self._code_only else nullcontext() as clean:
                self._documents = list(self._distinct(clean))
        return self._documents

    def _distinct(self, clean: Cleaner | None) -> Iterator[Document]:
        seen: set[bytes] = set()
        summary = self._summary
        for source in self._sources:  # the other sources may take minutes to read
            if isinstance(source, _Glob) and paths.is_missing(source.pattern):
                raise DataError(f"corpus {source.pattern!r} is not there: {INSTEAD}")
        for source in self._sources:
            for found in source(summary):
                content = found.content
                text = content if isinstance(content, str) else decoded(content)
                if text is None:
                    summary.not_utf8 += 1
                    continue
                if clean and not found.clean:
                    text = clean(text)
                    if text is None:
                        summary.not_python += 1
                        continue
                digest = hashlib.sha256(text.encode()).digest()
                if digest in seen:
                    summary.duplicates += 1
                elif text.strip():
                    seen.add(digest)
                    split = found.split or split_of(found.path)
                    summary.files += 1
                    summary.bytes += len(text.encode())
                    summary.per_split[split] = summary.per_split.get(split, 0) + 1
                    yield Document(found.path, text, split)
        if not seen:
            skipped = summary.not_utf8 + summary.unreadable + summary.too_large
            links = f", {summary.linked} links out of it" if summary.linked else ""
            raise DataError(
                f"corpus {self.spec!r} is empty: no readable text file there ({skipped} skipped"
                f"{links}); {INSTEAD}"
            )


def renamed(spec: str) -> str:
    """A corpus in the words of today.

    Example:
        >>> renamed("practice:code:standard_library")
        'taught:code:standard_library'
    """
    return TAUGHT + spec.removeprefix(PRACTICE) if spec.startswith(PRACTICE) else spec


def plain(spec: str) -> str:
    """The sources of a corpus, without what is to be done to their text."""
    names = paths.parts(renamed(spec).removeprefix(TAUGHT).removeprefix(CODE))
    return type(spec)("+".join(name.removeprefix(CODE) for name in names))


@functools.cache
def _named(spec: str) -> Corpus:
    return Corpus._parsed(spec)


def split_of(path: str) -> Split:
    """The split of a file, by a hash of the last two parts of its path."""
    key = "/".join(VERSIONED.sub("lib", part) for part in path.lower().split("/")[-2:])
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return next(split for split, end in SHARES if share < end)


@dataclass(frozen=True)
class _PythonTree:
    roots: list[Path]

    def __call__(self, summary: CorpusSummary) -> Iterator[Found]:
        for root in dict.fromkeys(self.roots):
            for path in sorted(_modules(root)):
                inside = path.relative_to(root).as_posix()
                yield from _content(path, f"{root.name}/{inside}", summary)


def _modules(root: Path) -> Iterator[Path]:
    """Files of Python below a folder; those of tests are not even looked for."""
    for folder, inside, names in os.walk(root):
        inside[:] = [name for name in inside if name not in TESTS]
        for name in names:
            if name.endswith(".py") and not name.startswith("test_"):
                yield Path(folder, name)


@dataclass(frozen=True)
class _Glob:
    pattern: str

    def __call__(self, summary: CorpusSummary) -> Iterator[Found]:
        found = paths.files(self.pattern)
        if not found:
            raise DataError(f"corpus {self.pattern!r} is empty: {INSTEAD}")
        root = paths.root(self.pattern)
        for path, name in found:
            if Path(os.path.realpath(path)).is_relative_to(root):
                yield from _content(path, name, summary)
            else:
                summary.linked += 1


@dataclass(frozen=True)
class BuiltPackage:
    """A package's row in corpus.json, as far as the text needs it."""

    __pydantic_config__ = artifacts.LOOSE

    label: str
    split: Split


@dataclass(frozen=True)
class BuiltIndex:
    """The same of corpus.json itself."""

    __pydantic_config__ = artifacts.LOOSE

    id: str
    list: str
    """Which list and rules it was built by."""
    packages: tuple[BuiltPackage, ...]


@dataclass(frozen=True)
class _Built:
    folder: Path

    @property
    def id(self) -> str:
        return artifacts.open_folder(self.folder, BUILT).read(INDEX, BuiltIndex).id

    def __call__(self, summary: CorpusSummary) -> Iterator[Found]:
        whole = artifacts.open_folder(self.folder, BUILT)
        for package in whole.read(INDEX, BuiltIndex).packages:
            rows = whole.lines(f"{TEXT}/{package.label}.jsonl", Line, LARGEST_TEXT)
            for path, text in rows:
                yield Found(f"{package.label}/{path}", text, package.split, clean=True)


def is_built(folder: Path) -> bool:
    """Whether a folder is a corpus that `lacewing corpus build` made, or began to make."""
    return (folder / INDEX).is_file() or (folder / PARTS).is_dir()


def _content(path: Path, name: str, summary: CorpusSummary) -> Iterator[Found]:
    try:
        if path.stat().st_size > LARGEST:
            summary.too_large += 1
            return
        content = path.read_bytes()
    except OSError:
        summary.unreadable += 1
        return
    yield Found(name, content)


def decoded(content: bytes) -> str | None:
    """The text of a file; None where it is no UTF-8 or holds NUL bytes."""
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None
