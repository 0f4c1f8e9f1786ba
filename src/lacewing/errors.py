"""What can go wrong, as far as a user can mend it. The text of each error is shown as it is.

    LacewingError
      ConfigError     settings that cannot work together, or an output folder of other settings
      DataError       text, prompts or tokens that are missing or unusable
      ArtifactError   a file or folder that is missing, damaged or of another kind
      MismatchError   two things that do not belong together, such as a circuit and a model

One line each: what was wrong, what arrived, what to do.
"""


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
