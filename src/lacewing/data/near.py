"""Near duplicates: MinHash signatures of files' lines, and an index of the files seen so far.

Two files are alike by the share of their distinct lines that both have. A signature of `SIZE`
minima estimates that share to about 0.05; the `datasketch` library finds candidates.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from datasketch import MinHash

SIZE = 64
"""Minima of a signature."""
ALIKE = 0.6
"""Estimated share of common lines from which on two files count as one."""
FEWEST = 8
"""Distinct lines below which a share of them says little: only equal files are duplicates then."""


def signature(code: str) -> np.ndarray | None:
    """The signature of a text, [SIZE] uint32; None where it has too few lines.

    Example:
        >>> signature("x = 1") is None
        True
    """
    lines = {line for raw in code.split("\n") if len(line := raw.strip()) > 2}
    if len(lines) < FEWEST:
        return None
    hashed = _minhash()
    hashed.update_batch([line.encode() for line in sorted(lines)])
    return hashed.hashvalues.astype(np.uint32)


class Seen:
    r"""Signatures of files, and which of them a new one is like.

    Example:
        >>> seen = Seen()
        >>> code = "".join(f"a{i} = {i}\n" for i in range(20))
        >>> seen.add("first", signature(code))
        >>> seen.like(signature(code + "b = 1\n"))
        'first'
    """

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._index = MinHashLSH(threshold=ALIKE, num_perm=SIZE)
        self._values: dict[str, np.ndarray] = {}

    def add(self, key: str, values: np.ndarray) -> None:
        """Remember a file by its signature."""
        if key not in self._values:
            self._values[key] = values
            self._index.insert(key, _minhash(values))

    def like(self, values: np.ndarray) -> str | None:
        """The key of the file most alike, if any is alike enough."""
        found = [
            (float((self._values[key] == values).mean()), key)
            for key in self._index.query(_minhash(values))
        ]
        share, key = max(found, default=(0.0, ""))
        return key if share >= ALIKE else None


def _minhash(values: np.ndarray | None = None) -> "MinHash":
    try:
        from datasketch import MinHash
    except ImportError as error:
        raise ConfigError(
            "building a corpus needs datasketch: pip install 'lacewing[corpus]'"
        ) from error
    given: dict[str, Any] = {} if values is None else {"hashvalues": values.astype(np.uint32)}
    return MinHash(num_perm=SIZE, seed=1, scheme="affine32", **given)
