"""The log formats, one file each, asked in this order whether a log is theirs.

Each module has `matches(log) -> bool` and `events(log) -> Iterator[Event]`. A log is a header, what
stands beside the list of records, and the records themselves, which may be a stream.
"""

from lacewing_blame.formats import (
    agents,
    anthropic,
    autogen,
    crewai,
    inspect,
    jsonl,
    langchain,
    openai,
    otel,
    whoandwhen,
)

FORMATS = {
    "inspect": inspect,
    "whoandwhen": whoandwhen,
    "otel": otel,
    "agents": agents,
    "crewai": crewai,
    "anthropic": anthropic,
    "langchain": langchain,
    "autogen": autogen,
    "openai": openai,
    "jsonl": jsonl,
}
"""Readers by name, the most particular first."""
