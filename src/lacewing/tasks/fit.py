"""Cut prompts to length and keep those whose answers are exactly one token after them.

Both members are cut at the same line start, and always keep what they differ in. A pair is exact if
encode(prompt + answer) == encode(prompt) + [id of the answer] for both members.
"""

from collections import Counter
from collections.abc import Sequence

from lacewing.data.tokenizer import Tokenizer
from lacewing.tasks.pair import Pair
from lacewing.tasks.task import Candidate

CHARACTERS = 6  # per token at most, in the lines looked at; source code has about 3
LONG, NOT_SINGLE, MERGED, SAME, UNALIGNED = (
    "longer than max_tokens",
    "answers that are not one token",
    "answers that merge with the end of the prompt",
    "two equal prompts or answers",
    "prompts that differ in more than one token",
)


def fit(
    candidates: Sequence[Candidate],
    settled: tuple[str, str] | None,
    tokenizer: Tokenizer,
    max_tokens: int,
    aligned: bool = False,
) -> list[Pair | str]:
    """Finished pairs, in order.

    Args:
        candidates: Drafts with their files.
        settled: Answers of drafts that bring none.
        tokenizer: The tokenizer of the run.
        max_tokens: Longest prompt allowed, in tokens.
        aligned: Refuse pairs that differ in more than one token.

    Returns:
        For every candidate its pair, or why there is none: one of the texts above.
    """
    parts = [_parts(c, max_tokens) for c in candidates]
    flat = {line for above, _, _ in parts for line in above}
    flat |= {tail for _, *tails in parts for tail in tails}
    cost = _lengths(sorted(flat), tokenizer)
    pairs = []
    for candidate, (above, clean, corrupted) in zip(candidates, parts, strict=True):
        kept = _last_lines(above, max_tokens - max(cost[clean], cost[corrupted]), cost)
        answers = candidate.draft.answers or settled or ("", "")
        pairs.append(Pair(kept + clean, kept + corrupted, *answers, candidate.source))
    found = problems(pairs, tokenizer, max_tokens, aligned)
    return [problem or pair for pair, problem in zip(pairs, found, strict=True)]


def problems(
    pairs: Sequence[Pair], tokenizer: Tokenizer, max_tokens: int, aligned: bool = False
) -> list[str | None]:
    """For every pair why it cannot be used, or None."""
    single = {a: tokenizer.single(a) for p in pairs for a in (p.clean_answer, p.corrupted_answer)}
    prompts = tokenizer.encode_batch([t for p in pairs for t in (p.clean, p.corrupted)])
    answered = tokenizer.encode_batch(
        [t for p in pairs for t in (p.clean + p.clean_answer, p.corrupted + p.corrupted_answer)]
    )
    return [
        _problem(
            pair,
            [single[pair.clean_answer], single[pair.corrupted_answer]],
            prompts[2 * i : 2 * i + 2],
            answered[2 * i : 2 * i + 2],
            max_tokens,
            aligned,
        )
        for i, pair in enumerate(pairs)
    ]


def _problem(
    pair: Pair,
    answers: Sequence[int | None],
    prompts: Sequence[list[int]],
    answered: Sequence[list[int]],
    max_tokens: int,
    aligned: bool,
) -> str | None:
    if pair.clean == pair.corrupted or pair.clean_answer == pair.corrupted_answer:
        return SAME
    if None in answers:
        return NOT_SINGLE
    if max(map(len, prompts)) > max_tokens or not all(prompts):
        return LONG
    if any(a != [*p, i] for p, a, i in zip(prompts, answered, answers, strict=True)):
        return MERGED
    if aligned and (
        len(prompts[0]) != len(prompts[1])
        or sum(a != b for a, b in zip(*prompts, strict=True)) != 1
    ):
        return UNALIGNED
    return None


def _parts(candidate: Candidate, max_tokens: int) -> tuple[list[str], str, str]:
    """The lines that both prompts share, and where they begin to differ, each at a line start."""
    draft = candidate.draft
    above = candidate.file.before(draft.line, CHARACTERS * max_tokens) if candidate.file else []
    shared = draft.clean.rfind("\n", 0, _common(draft.clean, draft.corrupted)) + 1
    above = above + [line + "\n" for line in draft.clean[:shared].split("\n")[:-1]]
    return above, draft.clean[shared:], draft.corrupted[shared:]


def _common(a: str, b: str) -> int:
    """Length of the common start of two texts, by bisection."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a.startswith(b[:middle]) else (low, middle - 1)
    return low


def _last_lines(lines: Sequence[str], budget: int, cost: Counter[str]) -> str:
    """As many of the last lines as cost no more than the budget, without leading blank ones."""
    start = len(lines)
    while start > 0 and cost[lines[start - 1]] <= budget:
        start -= 1
        budget -= cost[lines[start]]
    while start < len(lines) and not lines[start].strip():
        start += 1
    return "".join(lines[start:])


def _lengths(texts: Sequence[str], tokenizer: Tokenizer) -> Counter[str]:
    """Tokens of every text on its own; joined lines never have more."""
    ids = tokenizer.encode_batch(texts)
    return Counter({text: len(i) for text, i in zip(texts, ids, strict=True)})
