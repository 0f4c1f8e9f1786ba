"""What can go wrong, as far as a user can mend it. The text of each error is shown as it is.

    BlameError
      ConfigError     settings that cannot work together, or an endpoint that refuses
      DataError       a log that cannot be read or used
      ArtifactError   a file that is missing, damaged or cannot be written

One line each: what was wrong, what arrived, what to do.
"""


class BlameError(Exception):
    r"""The base of all; catch it to show any of them.

    What a log or a server said may stand in the text: signs that would steer a terminal are not
    shown.

    >>> str(BlameError("no agent called a\x1b[2Jb"))
    'no agent called a [2Jb'
    """

    def __str__(self) -> str:
        return "".join(c if c.isprintable() or c == "\n" else " " for c in super().__str__())


class ConfigError(BlameError):
    """Settings that cannot work."""


class DataError(BlameError):
    """A log that cannot be read or used."""


class ArtifactError(BlameError):
    """A file that is missing, damaged or cannot be written."""
