"""The text of `benchmarks.watch`: of which packages references are made, and which others are read.

    fit     packages of the built corpus that it keeps from training (validation and task splits)
    tuning  others of them, for whoever builds the method
    held    packages that neither model nor builder has seen: those of a second built corpus, and
            the installed ones that recipes/corpus.txt does not name

Text is code without comments, as the models read it, cut at 40,000 signs a file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np

from lacewing import artifacts
from lacewing.data.corpus import BUILT, INDEX, TESTS, TEXT, BuiltIndex, Corpus
from lacewing.data.source import Line
from lacewing.errors import LacewingError
from lacewing.watch.stream import Piece

OF_ONE = 40_000
"""Signs of one file, at most."""
LEAST = 150_000
"""Bytes of Python below which an installed package is too small."""
FIT = 24
"""Packages that references are fitted on; the corpus's other unread ones are for tuning."""
READ = Path(__file__).parent.parent / "recipes" / "corpus.txt"


@dataclass(frozen=True)
class Package:
    """One package's text."""

    name: str
    place: Path
    """A built corpus's folder, or an installed package's."""
    built: bool

    def pieces(self, most: int) -> Iterator[Piece]:
        """Its files in a fixed random order, up to so many signs."""
        signs = 0
        for path, text in self._built() if self.built else self._installed():
            if signs > most:
                return
            signs += len(text[:OF_ONE])
            yield Piece(text[:OF_ONE], path, True, 0.0)

    def _built(self) -> Iterator[tuple[str, str]]:
        whole = artifacts.open_folder(self.place, BUILT)
        rows = list(whole.lines(f"{TEXT}/{self.name}.jsonl", Line, 2**31))
        for index in np.random.default_rng(len(rows)).permutation(len(rows)):
            yield rows[index].path, rows[index].text

    def _installed(self) -> Iterator[tuple[str, str]]:
        files = sorted(
            path
            for path in self.place.rglob("*.py")
            if not TESTS.intersection(path.relative_to(self.place).parts)
            and not path.name.startswith("test_")
        )
        for index in np.random.default_rng(len(files)).permutation(len(files)):
            try:
                documents = list(Corpus.parse(f"code:{files[index]}").documents())
            except LacewingError:
                continue
            yield str(files[index].relative_to(self.place.parent)), documents[0].text


def built(folder: Path) -> list[Package]:
    """The packages of a built corpus that are not for training, in a fixed random order."""
    index = artifacts.open_folder(folder, BUILT).read(INDEX, BuiltIndex)
    found = [Package(p.label, folder, True) for p in index.packages if p.split != "train"]
    order = np.random.default_rng(7).permutation(len(found))
    return [found[i] for i in order]


def bare(name: str) -> str:
    """A distribution's name without its version, as indexes write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"==|-\d", name)[0]).lower()


def installed(without: set[str]) -> list[Package]:
    """The installed packages of other distributions, in a fixed random order."""
    import site

    root, owners = Path(site.getsitepackages()[0]), packages_distributions()
    found = []
    for path in sorted(root.iterdir()):
        names = {bare(name) for name in owners.get(path.name, [])}
        if not path.is_dir() or not names or names & without or "lacewing" in path.name:
            continue
        if sum(file.stat().st_size for file in path.rglob("*.py")) > LEAST:
            found.append(Package(path.name, path, False))
    order = np.random.default_rng(7).permutation(len(found))
    return [found[i] for i in order]


def read_by_the_model() -> set[str]:
    """The names of all distributions in the builtin pair's corpus."""
    lines = READ.read_text(encoding="utf-8").splitlines()
    return {bare(line) for line in lines if "==" in line and not line.startswith("#")}


@dataclass(frozen=True)
class Packages:
    """All packages by what they are for."""

    fit: list[Package]
    tuning: list[Package]
    held: list[Package]

    @classmethod
    def of(cls, corpus: Path, unseen: Path | None) -> "Packages":
        """Those of a corpus made by recipes/corpus.txt, and of another one by recipes/unseen.txt.

        Raises:
            ArtifactError: a folder is no built corpus.
        """
        unread, others = built(corpus), built(unseen) if unseen else []
        known = read_by_the_model() | {bare(package.name) for package in others}
        held = [*others, *installed(known)]
        order = np.random.default_rng(8).permutation(len(held))
        return cls(unread[:FIT], unread[FIT:], [held[i] for i in order])


def other_text(kind: str, seed: int = 11) -> list[Path]:
    """Files of prose, C or JavaScript that lie beside the installed packages, in a random order."""
    import site

    root = Path(site.getsitepackages()[0])
    names = {"prose": ("*.md", "*.rst", "LICENSE*"), "c": ("*.h", "*.hpp"), "js": ("*.js",)}[kind]
    files = sorted({p for name in names for p in root.rglob(name) if p.is_file()})
    order = np.random.default_rng(seed).permutation(len(files))
    return [files[i] for i in order]
