"""The circuits that ship with lacewing, and where a circuit's folder is. No torch is imported here.

    builtin:MODEL/TASK               the plain circuit of a builtin model
    builtin:MODEL/TASK/minimal       none of its nodes and edges can go
    builtin:MODEL/TASK/robust        it also holds under what `lacewing verify` tests

Each is an ordinary folder of a circuit, with the verdict of the suite beside it. They belong to the
package: nobody writes into them.
"""

import functools
from importlib import resources
from pathlib import Path

from lacewing import artifacts
from lacewing.errors import ArtifactError, did_you_mean
from lacewing.model.shipped import BUILTIN

KINDS = ("plain", "minimal", "robust")
"""What is found for every task."""


def circuit_names() -> list[str]:
    """The names of the circuits that ship, as `folder_of` takes them.

    Example:
        >>> "builtin:taught-tiny/while_return_true/robust" in circuit_names()
        True
    """
    found = sorted(_home().glob(f"*/*/*/{artifacts.MANIFEST}"), key=_order)
    return [_name(*path.parts[-4:-1]) for path in found]


def is_shipped(source: str | Path) -> bool:
    """Whether a circuit is named as one that ships, or lies where those are."""
    return _text(source).startswith(BUILTIN) or artifacts.real(source).is_relative_to(_home())


def folder_of(source: str | Path) -> Path:
    """The folder behind `builtin:MODEL/TASK`, `builtin:MODEL/TASK/KIND` or a path.

    Raises:
        ArtifactError: no circuit of that name ships.

    Example:
        >>> folder_of("builtin:taught-tiny/while_return_true/robust").parts[-3:]
        ('taught-tiny', 'while_return_true', 'robust')
    """
    text = _text(source)
    if not text.startswith(BUILTIN):
        return Path(source)
    known = circuit_names()
    name = text.removesuffix(f"/{KINDS[0]}")
    if name not in known:
        model = name.split("/")[0]
        near = [one for one in known if one.startswith(f"{model}/")] or known
        raise ArtifactError(
            f"no circuit {text[:120]!r} ships; {did_you_mean(text, known)}there are: "
            f"{', '.join(near) or 'none'}"
        )
    model, task, *kind = name.removeprefix(BUILTIN).split("/")
    return _home() / model / task / (kind[0] if kind else KINDS[0])


def name_of(folder: Path) -> str:
    """What a folder among those that ship is called.

    Example:
        >>> name_of(folder_of("builtin:taught-tiny/while_return_true/robust"))
        'builtin:taught-tiny/while_return_true/robust'
    """
    return _name(*folder.parts[-3:])


def _name(model: str, task: str, kind: str) -> str:
    return f"{BUILTIN}{model}/{task}" + ("" if kind == KINDS[0] else f"/{kind}")


def _order(path: Path) -> tuple[str, str, int]:
    """By model and task, then as KINDS has them."""
    model, task, kind = path.parts[-4:-1]
    return model, task, KINDS.index(kind)


def _text(source: str | Path) -> str:
    """A name as it was typed: on Windows, a path has other slashes."""
    return source.as_posix() if isinstance(source, Path) else source


@functools.cache
def _home() -> Path:
    return artifacts.real(str(resources.files("lacewing"))) / "circuits"
