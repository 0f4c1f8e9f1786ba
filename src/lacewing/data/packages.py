"""The list of a corpus: packages pinned by version and hash, each with its licence and split.

The file is a requirements file that pip reads as it is. What pip does not know stands behind `#`:

    django==5.2.19 --hash=sha256:01ab...  # BSD-3-Clause, train

Empty lines and lines that begin with `#` are left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lacewing import artifacts
from lacewing.data.source import Split
from lacewing.errors import ArtifactError, DataError

LICENCES = {
    "MIT": "MIT",
    "MIT-0": "MIT",
    "BSD-2-Clause": "BSD",
    "BSD-3-Clause": "BSD",
    "0BSD": "BSD",
    "Apache-2.0": "Apache",
    "PSF-2.0": "PSF",
    "ISC": "ISC",
}
"""The licences (SPDX) whose packages may be read, with the family each belongs to."""

LINE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9.!+_-]{1,60})"
    r"\s+--hash=sha256:(?P<hash>[0-9a-f]{64})\s+#\s*(?P<licence>[^,\s]+)\s*,\s*(?P<split>\w+)"
)


@dataclass(frozen=True)
class Package:
    """One pinned package."""

    name: str
    """Its name, as `normal` writes it."""
    version: str
    hash: str
    """SHA-256 of its wheel, 64 hexadecimal digits."""
    licence: str
    """An SPDX identifier of `LICENCES`."""
    split: Split

    @property
    def label(self) -> str:
        """What its files are called after: NAME-VERSION."""
        return f"{self.name}-{self.version}"

    @property
    def requirement(self) -> str:
        """The line that pip reads."""
        return f"{self.name}=={self.version} --hash=sha256:{self.hash}"


def read_list(path: Path) -> list[Package]:
    """Read the list of a corpus.

    Raises:
        DataError: it is missing or empty, or a line lacks its hash, names a licence that is not
            on the list, a split that there is not, or a package for the second time.

    Example:
        >>> read_list(Path("recipes/corpus.txt"))[0].split  # doctest: +SKIP
        'train'
    """
    try:
        lines = artifacts.read_bytes(path, artifacts.LARGEST).decode("utf-8").splitlines()
    except (ArtifactError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list of packages {path}: {error}") from error
    packages: dict[str, Package] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            package = _package(line.strip(), f"{path}, line {number}")
            if package.name in packages:
                raise DataError(f"{path}, line {number}: {package.name} is listed twice")
            packages[package.name] = package
    if not packages:
        raise DataError(f"{path} lists no package: give it lines NAME==VERSION --hash=sha256:...")
    return list(packages.values())


def normal(name: str) -> str:
    """A package's name as indexes compare it (PEP 503).

    Example:
        >>> normal("Zope.Interface")
        'zope-interface'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(line: str, where: str) -> Package:
    match = LINE.fullmatch(line)
    if match is None:
        shape = "NAME==VERSION --hash=sha256:HASH  # LICENCE, SPLIT"
        missing = "no --hash=sha256: of 64 digits" if "--hash=sha256:" not in line else "not whole"
        raise DataError(f"{where}: {line[:80]!r} is {missing}; write it as {shape}")
    if match["licence"] not in LICENCES:
        raise DataError(
            f"{where}: licence {match['licence']!r} is not one of {', '.join(LICENCES)}: "
            "leave the package out"
        )
    split = next((s for s in get_args(Split) if s == match["split"]), None)
    if split is None:
        raise DataError(f"{where}: split {match['split']!r} is not train, validation or task")
    return Package(normal(match["name"]), match["version"], match["hash"], match["licence"], split)
