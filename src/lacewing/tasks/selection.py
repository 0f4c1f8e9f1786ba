"""Pairs of a task: draw candidates in a fixed order, keep the first that fit exactly."""

from collections import Counter
from itertools import islice

from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.tasks.fit import NOT_SINGLE, fit
from lacewing.tasks.pair import Pair
from lacewing.tasks.task import PER_FILE, Task
from lacewing.tasks.text import Part, check_part


def pairs(
    task: Task,
    corpus: Corpus,
    split: Part,
    count: int,
    tokenizer: Tokenizer,
    max_tokens: int,
    seed: int = 0,
) -> list[Pair]:
    """Up to `count` different pairs of a task; the same for the same arguments.

    Fewer pairs are the first of more, and the parts of the task text share no source file.

    Args:
        task: The task, as `get` gives it.
        corpus: Whose task files to use; a user's file of pairs needs none of it.
        split: train, validation or test.
        count: Pairs wanted; there may be fewer.
        tokenizer: The tokenizer of the run.
        max_tokens: Longest prompt in tokens; prompts are cut to it at a line start.
        seed: Which pairs are chosen, and their order.

    Raises:
        DataError: the tokenizer has no single-token answers, or the text has no place for the task.
    """
    check_part(split)
    if count < 1:
        raise DataError(f"{count} pairs of task {task.name!r} wanted; ask for at least 1")
    task.check(tokenizer, max_tokens)
    settled = task.settle(tokenizer)
    stream = task.draw(corpus, split, seed)
    found: dict[str, Pair] = {}
    per_file: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    single: dict[str, bool] = {}
    while len(found) < count:
        chunk = list(islice(stream, max(32, (count - len(found)) * 5 // 4)))
        if not chunk:
            break
        wanted = [c for c in chunk if c.draft.answers in (None, settled) or settled is None]
        offered = {a for c in wanted for a in c.draft.answers or ()} - single.keys()
        single |= {answer: tokenizer.single(answer) is not None for answer in offered}
        usable = [c for c in wanted if all(single[a] for a in c.draft.answers or ())]
        dropped[NOT_SINGLE] += len(wanted) - len(usable)
        for pair in fit(usable, settled, tokenizer, max_tokens, task.aligned):
            if isinstance(pair, str):
                dropped[pair] += 1
            elif len(found) < count and per_file[pair.source] < PER_FILE:
                per_file[pair.source] += pair.clean not in found
                found.setdefault(pair.clean, pair)
    if not found:
        raise DataError(_nothing(task, corpus, split, max_tokens, tokenizer, dropped))
    return list(found.values())


def _nothing(
    task: Task,
    corpus: Corpus,
    split: Part,
    max_tokens: int,
    tokenizer: Tokenizer,
    dropped: Counter[str],
) -> str:
    """Why a task has no pair at all, as one line."""
    if not dropped.total():
        return (
            f"task {task.name!r}: the {split} part of the task text of corpus {corpus.spec!r} "
            "has no place for it; use a larger corpus"
        )
    reasons = ", ".join(f"{n} for {reason}" for reason, n in dropped.most_common() if n)
    return (
        f"task {task.name!r}: no pair is left of {dropped.total()} in the {split} part: dropped "
        f"{reasons} (max_tokens {max_tokens}, tokenizer of {tokenizer.vocab_size} tokens)"
    )
