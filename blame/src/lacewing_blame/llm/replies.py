"""What an endpoint sends back: an answer, its words on a failure, when to come again."""

import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time

LONGEST_WORDS = 200
"""Characters of a server's message that are shown."""


@dataclass(frozen=True)
class Reply:
    """One answer."""

    text: str
    """What the model wrote; empty where it wrote nothing."""
    tokens: int
    """Tokens of question and answer as the endpoint counts them; 0 where it does not."""
    cut: bool = False
    """Whether the answer ended because it grew too long."""
    written: int = 0
    """Those of the tokens that the answer took; 0 where the endpoint does not say."""


class Passing(Exception):  # noqa: N818 - a state, which the client waits out
    """A failure that may pass; `after` is what Retry-After said, in seconds."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


def read_reply(content: bytes) -> Reply:
    """A chat completion as an answer.

    Args:
        content: The body of the response.

    Raises:
        Passing: it is no chat completion.

    >>> read_reply(b'{"choices": [{"message": {"content": "Me."}}], "usage": {"total_tokens": 7}}')
    Reply(text='Me.', tokens=7, cut=False, written=0)
    """
    try:
        answer = json.loads(content)
        choice = answer["choices"][0]
        text = choice["message"].get("content") or ""
        usage = answer.get("usage")
        cut = choice.get("finish_reason") == "length"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        start = content[:60].decode("utf-8", "replace")
        raise Passing(f"an answer that is no chat completion ({start!r})") from error
    if not isinstance(text, str):
        raise Passing("an answer whose content is no text")
    counts = usage if isinstance(usage, dict) else {}
    total, written = (
        count if isinstance(count := counts.get(name), int) else 0
        for name in ("total_tokens", "completion_tokens")
    )
    return Reply(text, total, cut, written)


def server_words(content: bytes) -> str:
    """The message in the body of a refusal, in one line; empty where there is none.

    >>> server_words(b'{"error": {"message": "no such model"}}')
    'no such model'
    """
    said = content.decode("utf-8", "replace")
    try:
        found = json.loads(said)
        inner = found.get("error", found)
        said = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
    except (ValueError, AttributeError, RecursionError):
        pass
    line = " ".join(said.split())
    return line[:LONGEST_WORDS] + "..." if len(line) > LONGEST_WORDS else line


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as a date.

    >>> retry_after("2.5"), retry_after("Thu, 01 Jan 1970 00:00:00 GMT"), retry_after("soon")
    (2.5, 0.0, None)
    """
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, TypeError):
        return None
