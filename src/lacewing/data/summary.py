"""What reading a corpus found, and what it left out."""

from dataclasses import dataclass, field


@dataclass
class CorpusSummary:
    """What was read and what was left out."""

    files: int = 0
    bytes: int = 0
    duplicates: int = 0
    """Files whose content another file had."""
    not_utf8: int = 0
    """Files skipped because they are not UTF-8, or hold NUL bytes."""
    too_large: int = 0
    unreadable: int = 0
    not_python: int = 0
    """Files skipped by `code:` because they do not parse."""
    per_split: dict[str, int] = field(default_factory=dict)
