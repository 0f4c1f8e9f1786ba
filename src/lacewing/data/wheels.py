"""Wheels: fetched by pip, opened as the archives they are; nothing in them is unpacked or run.

pip is asked for the wheel of one fixed platform and Python, whatever this machine has, so that the
same list gives the same files everywhere. Source archives are never taken: pip runs their code.
"""

import email
import hashlib
import importlib.util
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lacewing.data.corpus import LARGEST
from lacewing.data.packages import LICENCES, Package
from lacewing.errors import DataError

TARGET = (
    *("--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"),
    *("--abi", "cp311", "--abi", "abi3", "--abi", "none"),
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"),
    *("--platform", "manylinux2014_x86_64", "--platform", "any"),
)
"""Whose wheels are read: those of Python 3.11 on Linux, on every machine."""
MOST_FILES, MOST_BYTES = 200_000, 4_000_000_000
"""Files and unpacked bytes above which an archive is refused unread."""
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading an archive may raise: damage, a password, a way of packing nobody knows."""
FAMILIES = {"apache": "Apache", "mit": "MIT", "bsd": "BSD", "isc": "ISC", "python": "PSF"}
"""Words of free licence texts and classifiers, with the family they name."""
REFUSED = ("gpl", "gnu", "mozilla", "proprietary", "commercial", "eclipse")
"""Words that name a licence off the list."""


def fetch(package: Package, folder: Path) -> Path:
    """Download the wheel of a package into a folder, or find it there; its hash is checked.

    Raises:
        DataError: pip is missing, the index has no such wheel, or another one than pinned.
    """
    for there in folder.glob("*.whl"):
        if _sha256(there) == package.hash:
            return there
    if importlib.util.find_spec("pip") is None:
        raise DataError("pip is needed to fetch packages: run `python -m ensurepip`")
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "requirement.txt"
    listed.write_text(package.requirement + "\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
    options = ("--no-deps", "--require-hashes", *TARGET, "--dest", str(folder))
    done = subprocess.run([*pip, *options, "-r", str(listed)], capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise DataError(_why(package, done.stderr))
    return next(there for there in folder.glob("*.whl") if _sha256(there) == package.hash)


def _why(package: Package, said: str) -> str:
    """What pip's failure means, in one line."""
    pinned = f"{package.name}=={package.version}"
    if "DO NOT MATCH THE HASHES" in said:
        return (
            f"{pinned}: the index serves another file than the one pinned by its hash; nothing "
            "was kept; check the hash, or leave the package out"
        )
    if "No matching distribution" in said or "Could not find a version" in said:
        return (
            f"{pinned}: the package index that pip asks has no such wheel (it was withdrawn, or a "
            "mirror does not keep it); set PIP_INDEX_URL to an index that has it, or pin another "
            "version; packages that are done are kept"
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    reason = (errors or said.strip().splitlines() or ["no reason given"])[-1]
    return f"{pinned}: pip could not fetch it ({reason[:200]}); the same command tries again"


class Wheel:
    """An open wheel: its licence and its Python files.

    Raises:
        DataError: no archive, too large, with a path out of its folder, or under another licence
            than the list says.
    """

    def __init__(self, path: Path, package: Package) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except UNREADABLE as error:
            raise DataError(f"{path.name} is no wheel ({error})") from error
        self.name = path.name
        self.members = self._archive.infolist()
        if len(self.members) > MOST_FILES or sum(m.file_size for m in self.members) > MOST_BYTES:
            raise DataError(f"{path.name} unpacks to more than {MOST_BYTES:,} bytes: left alone")
        for member in self.members:
            inside = PurePosixPath(member.filename.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts or ":" in member.filename[:2]:
                raise DataError(f"{path.name} holds a path out of its folder: {member.filename!r}")
        self.licence = self._said()
        check_licence(self.licence, package)

    def files(self) -> Iterator[tuple[str, bytes | None]]:
        """Every Python file in a fixed order: its path and content; None where it is too large."""
        for member in sorted(self.members, key=lambda m: m.filename):
            if member.filename.endswith(".py") and not member.is_dir():
                yield member.filename, self._content(member)

    def _content(self, member: zipfile.ZipInfo) -> bytes | None:
        """A member's content; None where it is too large, whatever the archive says of its size."""
        if member.file_size > LARGEST:
            return None
        try:
            with self._archive.open(member) as file:
                content = file.read(LARGEST + 1)
        except UNREADABLE as error:
            raise DataError(
                f"{self.name}: {member.filename[:200]!r} cannot be read ({error}): damaged, or "
                "packed in a way that is not known here; leave the package out"
            ) from error
        return None if len(content) > LARGEST else content

    def _said(self) -> str:
        """What the wheel says of its licence: an expression, else classifiers, else free text."""
        names = [m for m in self.members if m.filename.endswith(".dist-info/METADATA")]
        content = self._content(names[0]) if names else None
        if content is None:
            return ""
        metadata = email.message_from_bytes(content)
        if expression := metadata.get("License-Expression"):
            return str(expression)
        classifiers = [str(c) for c in metadata.get_all("Classifier", [])]
        named = [c.split("::")[-1].strip() for c in classifiers if c.startswith("License ::")]
        # Licences written out in full are told by their first line.
        return "; ".join(named) or str(metadata.get("License") or "").strip().split("\n")[0]


def check_licence(said: str, package: Package) -> None:
    """Refuse a wheel that does not name the licence its list gives it, or names one off the list.

    Raises:
        DataError: naming both.
    """
    words = said.lower()
    families = {family for word, family in FAMILIES.items() if word in words}
    if any(word in words for word in REFUSED) or LICENCES[package.licence] not in families:
        raise DataError(
            f"{package.label}: the list says {package.licence}, the wheel itself {said!r}: "
            "leave the package out"
        )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
