"""Changes to files of torch.save: tensors that lie, odd values, pickles that would run."""

import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hostile import values


class Bomb:
    """What leaves a canary where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.canary)!r}, 'w').write('sings')",)


def change(path: Path, dice: random.Random) -> str:
    """Change one entry, and save it as it was saved."""
    found = torch.load(path, weights_only=True)
    places = list(_places(found, ()))
    place = dice.choice(places)
    old = values.at(found, place)
    new, words = _instead(old, dice)
    if place and dice.random() < 0.2:
        parent, key = values.at(found, place[:-1]), place[-1]
        if isinstance(parent, dict):
            value = parent.pop(key)
            name = dice.choice(("surplus", 7, None, f"{key}.x", *values.NAMES[:20]))
            drop = dice.random() < 0.5
            if not drop:
                parent[name] = value
            torch.save(found, path)
            return f"{place}: {'dropped' if drop else f'renamed {name!r:.30}'}"
    torch.save(values.put(found, place, new), path)
    return f"{'.'.join(map(str, place)) or 'the whole'} = {words}"


def _instead(old: Any, dice: random.Random) -> tuple[Any, str]:
    if not isinstance(old, Tensor) or dice.random() < 0.15:
        plain = [v for v in values.HOSTILE if not isinstance(v, values.Raw)]
        new = dice.choice((*plain, torch.zeros(3), float("nan"), float("inf"), 10**400, b"x"))
        return new, repr(new)[:40]
    kind = dice.choice(
        ("value",) * 3 + ("shape", "type", "vast", "sparse", "empty", "meta", "complex", "all")
    )
    if kind == "value" and old.numel():
        new = old.clone().reshape(-1)
        low = (0, 1, -1, 7, 100) if not old.is_floating_point() else ()
        value = dice.choice(low or (float("nan"), float("inf"), 1e38, -1e38, 0.0, 1e-40))
        new[dice.randrange(new.numel())] = value
        return new.reshape(old.shape), f"one {value}"
    made: dict[str, Callable[[], Tensor]] = {
        "shape": lambda: dice.choice((old[None], old.reshape(-1), old.reshape(-1)[:-1])).clone(),
        "type": lambda: old.to(dice.choice((torch.int64, torch.float64, torch.bool, torch.half))),
        "vast": lambda: torch.zeros(1).expand(dice.choice((10**6, 10**11))),
        "sparse": lambda: old.float().to_sparse(),
        "meta": lambda: torch.zeros(old.shape, device="meta"),
        "complex": lambda: old.to(torch.complex64),
        "all": lambda: torch.full_like(old, 0 if old.dtype == torch.bool else 1),
    }
    return made.get(kind, lambda: torch.zeros(0))(), kind


def bomb(path: Path, dice: random.Random) -> str:
    """Pickled code, alone or inside a file of torch.save."""
    code = pickle.dumps(Bomb(path.with_name("canary")), protocol=dice.choice((0, 2, 4)))
    kind = dice.choice(("bare", "inside", "old"))
    if kind == "bare":
        path.write_bytes(code)
    elif kind == "old":
        torch.save({"a": 1}, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes() + code)
    else:
        _rewritten(path, lambda name, content: code if name.endswith("data.pkl") else content)
    return f"a bomb, {kind}"


def in_zip(path: Path, dice: random.Random) -> str:
    """Members that are missing, twice, cut short, blown up or named to lead outside."""
    kind = dice.choice(("drop", "name", "cut", "deflate", "pickle"))
    with zipfile.ZipFile(path) as archive:
        chosen = dice.choice(archive.namelist())

    def edited(name: str, content: bytes) -> bytes | None:
        if name != chosen:
            return content
        if kind == "drop":
            return None
        if kind == "cut":
            return content[: len(content) // 2]
        if kind == "deflate":
            return bytes(dice.choice((10**6, 10**8)))
        flipped = bytearray(content or b"x")
        flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
        return bytes(flipped)

    _rewritten(path, edited, deflate=kind == "deflate")
    if kind == "name":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("../../../outside/x", b"x")
    return f"{chosen}: {kind}"


def _rewritten(
    path: Path, edited: Callable[[str, bytes], bytes | None], deflate: bool = False
) -> None:
    with zipfile.ZipFile(path) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    how = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in inside.items():
            if (new := edited(name, content)) is not None:
                archive.writestr(name, new)


def legacy(path: Path, dice: random.Random) -> str:
    """The same in the old format, whole or with its end cut off."""
    found = torch.load(path, weights_only=True)
    torch.save(found, path, _use_new_zipfile_serialization=False)
    if cut := dice.random() < 0.5:
        os.truncate(path, dice.randrange(path.stat().st_size))
    return "the old format" + (", cut" if cut else "")


CHANGES: tuple[Callable[[Path, random.Random], str], ...] = (
    *(change,) * 6,
    *(bomb,) * 2,
    *(in_zip,) * 2,
    legacy,
)


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    yield path
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _places(inside, (*path, key))
    elif isinstance(value, list | tuple):
        for number, inside in enumerate(value):
            yield from _places(inside, (*path, number))
