"""Configurations of others, key by key: what is not understood is refused, not passed over."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import ArtifactError, did_you_mean

MOST = 2**20
"""Beyond any size that is meant."""


class Settings:
    """The keys of a JSON object that have not been asked for yet."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = dict(values), where

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Of a file.

        Raises:
            ArtifactError: it is missing or no JSON object.
        """
        return cls.of(artifacts.read_json(path), str(path))

    @classmethod
    def of(cls, value: object, where: str) -> "Settings":
        """Of a value that should be an object.

        Raises:
            ArtifactError: it is none.
        """
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ArtifactError(f"{where} holds no object of named values: damaged or foreign")
        return cls(value, where)

    def inner(self, name: str) -> "Settings":
        """An object inside; empty where there is none."""
        return Settings.of(self.values.pop(name, {}), f"{self.where}: {name}")

    def size(self, name: str, default: int | None = None, most: int = MOST) -> int:
        """A whole number of at least 1; null counts as missing."""
        value = self.values.pop(name, None)
        value = default if value is None else value
        if value is None:
            raise self._missing(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self._wrong(name, value, f"a whole number from 1 to {most:,}")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        """A truth."""
        value = self.values.pop(name, default)
        if value is None:
            raise self._missing(name)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def fraction(self, name: str) -> float | None:
        """A number above 0 and at most 1, or null."""
        if name not in self.values:
            raise self._missing(name)
        value = self.values.pop(name)
        if value is None:
            return None
        number = not isinstance(value, bool) and isinstance(value, int | float)
        if not number or not math.isfinite(value) or not 0 < value <= 1:
            raise self._wrong(name, value, "a number above 0 and at most 1, or null")
        return float(value)

    def words(self, name: str) -> tuple[str, ...]:
        """Words between commas, as they stand: a space would be part of a word."""
        value = self.values.pop(name, None)
        if value is None:
            raise self._missing(name)
        if not isinstance(value, str):
            raise self._wrong(name, value, "words between commas")
        return tuple(word for word in value.split(",") if word)

    def choice(self, name: str, known: Mapping[str, str], default: str | None = None) -> str:
        """One of some words, in ours."""
        value = self.values.pop(name, default)
        if value is None:
            raise self._missing(name)
        if not isinstance(value, str) or value not in known:
            raise self._wrong(name, value, f"one of {', '.join(known)}")
        return known[value]

    def harmless(self, allowed: Mapping[str, tuple[object, ...]]) -> None:
        """Drop keys that lead to another model unless they have one of the values given here.

        Raises:
            ArtifactError: one has another value.
        """
        for name, values in allowed.items():
            if name in self.values:
                value = self.values.pop(name)
                if not any(value is v or (value == v and type(value) is type(v)) for v in values):
                    raise self._wrong(name, value, " or ".join(map(repr, values)))

    def drop(self, *names: str) -> None:
        """Drop keys that no logit depends on."""
        for name in names:
            self.values.pop(name, None)

    def plain(self, *names: str) -> dict[str, bool | int | float | str | None]:
        """Keys to be kept as they are, as far as they are plain."""
        found = {name: self.values.pop(name) for name in names if name in self.values}
        return {k: v for k, v in found.items() if isinstance(v, bool | int | float | str)}

    def finish(self, known: tuple[str, ...]) -> None:
        """Refuse what is left.

        Raises:
            ArtifactError: naming the first key.
        """
        for name in self.values:
            raise ArtifactError(
                f"{self.where} has {name!r:.80}, which is not known here; "
                f"{did_you_mean(name, known)}it could mean another model, so nothing was read"
            )

    def _missing(self, name: str) -> ArtifactError:
        return ArtifactError(
            f"{self.where} has no {name}: the defaults of the code it was made with are not those "
            "of the models released, so nothing is guessed"
        )

    def _wrong(self, name: str, value: object, wanted: str) -> ArtifactError:
        return ArtifactError(f"{self.where}: {name} is {value!r:.60}; {wanted} is supported")
