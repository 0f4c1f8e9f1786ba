"""What can go wrong, as far as a user can mend it. The text of each error is shown as it is.

    LacewingError
      ConfigError     settings that cannot work together, or an output folder of other settings
      DataError       text, prompts or tokens that are missing or unusable
      ArtifactError   a file or folder that is missing, damaged or of another kind
      MismatchError   two things that do not belong together, such as a circuit and a model

One line each: what was wrong, what arrived, what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class LacewingError(Exception):
    """The base of all; catch it to show any of them."""


class ConfigError(LacewingError):
    """Settings that cannot work."""


class DataError(LacewingError):
    """Text, prompts or tokens that are missing or unusable."""


class ArtifactError(LacewingError):
    """A file or folder that is missing, damaged or of another kind."""


class MismatchError(LacewingError):
    """Two things that do not belong together."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that is most like one, as a question; empty where none is like it.

    Example:
        >>> did_you_mean("prun", ["prune", "verify"])
        'did you mean prune? '
    """
    like = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {like[0]}? " if like else ""
