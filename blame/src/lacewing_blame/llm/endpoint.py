"""Where to ask, what, and how patiently; checked before anything is sent."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from lacewing_blame.errors import ConfigError


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, what, and how patiently.

    >>> Endpoint("http://localhost:8000/v1", "model").address()
    'http://localhost:8000/v1/chat/completions'
    """

    url: str
    """Base URL, such as http://localhost:8000/v1."""
    model: str
    """The model's name there."""
    key_variable: str = "LACEWING_API_KEY"
    """Environment variable that holds the key; where it is unset, none is sent."""
    temperature: float | None = 0.0
    """Sampling temperature; None leaves it to the endpoint."""
    max_tokens: int | None = None
    """Longest answer, in tokens; None leaves it to the endpoint."""
    timeout: float = 120.0
    """Seconds after which a request is given up, even if something still trickles in."""
    retries: int = 5
    """Further attempts after a failure that may pass."""
    backoff: float = 1.0
    """Seconds before the first further attempt; the wait doubles each time."""
    concurrency: int = 4
    """Requests under way at a time."""
    cache: Path | None = None
    """Folder of answers already given; None keeps none."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{self.url!r} is no endpoint: give its base URL, such as http://localhost:8000/v1"
            )
        if parts.username is not None:
            raise ConfigError(
                "the endpoint's URL holds a user name or key: take it out and put the key into the "
                f"environment variable {self.key_variable}"
            )
        if not self.model:
            raise ConfigError("an endpoint needs the name of a model")
        if self.concurrency < 1 or self.retries < 0 or self.timeout <= 0 or self.backoff < 0:
            raise ConfigError(
                "an endpoint needs concurrency of at least 1, retries and backoff of at least 0 "
                f"and a time-out above 0; got {self.concurrency}, {self.retries}, "
                f"{self.backoff:g} and {self.timeout:g}"
            )

    def address(self) -> str:
        """Where questions are posted."""
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/")
        if not path.endswith("/chat/completions"):
            path += "/chat/completions"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    def shown(self) -> str:
        """The same for people: without the query, which may hold a key."""
        return self.address().partition("?")[0]
