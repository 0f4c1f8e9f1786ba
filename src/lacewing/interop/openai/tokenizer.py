"""`vocab.bpe` and `encoder.json` of the release as a tokenizer.json with the same ids.

The release reads them with tiktoken, which joins two neighbours whenever their bytes together are a
token, the lowest id first; the `tokenizers` library joins listed pairs. So every way to cut a token
in two is listed, in the order of ids, and a piece that is a token is taken whole.
"""

from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from lacewing import artifacts
from lacewing.data.tokenizer import END_OF_TEXT, LARGEST, Tokenizer
from lacewing.errors import ArtifactError

MERGES, VOCABULARY = "vocab.bpe", "encoder.json"
PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How the release cuts text (`tiktoken_ext/tinypython.py`), sign by sign; lacewing's own pattern
lacks the slash of `[\\r\\n/]`."""
BYTES = 256
LONGEST = 512
"""Bytes of a token, every cut of which is looked at."""


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder: tokenizer.json, or the release's two files.

    Raises:
        ArtifactError: there is none, or the two files do not fit each other.
    """
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.load(folder / "tokenizer.json")
    for name in (MERGES, VOCABULARY):
        if not (folder / name).is_file():
            raise ArtifactError(
                f"{folder} has no tokenizer: put tokenizer.json, or the release's {MERGES} and "
                f"{VOCABULARY} (folder tinypython), there or name their folder with --tokenizer"
            )
    return converted(folder / MERGES, folder / VOCABULARY)


def converted(merges_file: Path, vocabulary_file: Path) -> Tokenizer:
    """The release's two files as a tokenizer.

    Raises:
        ArtifactError: one is damaged, or they do not fit each other.
    """
    vocabulary = artifacts.read_json(vocabulary_file)
    if not isinstance(vocabulary, dict) or not all(
        isinstance(i, int) and not isinstance(i, bool) for i in vocabulary.values()
    ):
        raise ArtifactError(f"{vocabulary_file} maps no tokens to numbers: damaged or foreign")
    end = vocabulary.pop(END_OF_TEXT, len(vocabulary))
    merged = _merges(merges_file)
    if set(vocabulary.values()) != set(range(len(vocabulary))) or end != len(vocabulary):
        raise ArtifactError(f"{vocabulary_file} numbers its tokens with gaps or twice: damaged")
    if len(vocabulary) != BYTES + len(merged):
        raise ArtifactError(
            f"{vocabulary_file} has {len(vocabulary)} tokens, {merges_file} makes "
            f"{BYTES + len(merged)}: of two tokenizers"
        )
    if longest := [word for word in vocabulary if len(word) > LONGEST]:
        raise ArtifactError(
            f"{vocabulary_file} has a token of {len(longest[0]):,} bytes, at most {LONGEST} are "
            "read: damaged or foreign"
        )
    for place, (left, right) in enumerate(merged):
        if vocabulary.get(left + right) != BYTES + place:
            raise ArtifactError(
                f"{merges_file}: {left + right!r:.40} is merge {place} but not token "
                f"{BYTES + place} of {vocabulary_file}: of two tokenizers"
            )
    return _assembled(vocabulary)


def _merges(file: Path) -> list[tuple[str, str]]:
    try:
        lines = artifacts.read_bytes(file, LARGEST).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{file} cannot be read: no list of merges") from error
    merges = []
    for number, line in enumerate(lines[1:], 2):  # the first says the version
        pair = line.split(" ")
        if line and len(pair) == 2:
            merges.append((pair[0], pair[1]))
        elif line.strip():
            raise ArtifactError(f"{file}, line {number}: {line!r:.40} is no pair: damaged")
    return merges


def _assembled(vocabulary: dict[str, int]) -> Tokenizer:
    cuts = [
        (word[:at], word[at:])
        for word, id in sorted(vocabulary.items(), key=lambda item: item[1])
        for at in range(1, len(word))
        if id >= BYTES and word[:at] in vocabulary and word[at:] in vocabulary
    ]
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=cuts, ignore_merges=True))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([END_OF_TEXT])
    return Tokenizer(inner)
