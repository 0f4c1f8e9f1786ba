"""Four ways to ask a model who and when, after Zhang et al., arXiv 2505.00212, and a re-ranking.

n is the number of steps, i* the position of the first step found guilty, k = `Options.samples`.

method        questions, times k       where the answer is ambiguous
all-at-once   1                        unreadable JSON, an unknown agent or a step outside the log:
                                       that part has no prediction
step-by-step  i* + 1, n if never yes   neither yes nor no counts as no; never yes: no prediction
binary-search ceil(log2 n) at most     neither half or both: a coin decides, by `Options.seed`
hybrid        1 + steps looked at      no known agent: no prediction; never yes: the agent stands,
                                       without a step
rerank        1                        no usable order: the ranker's order stands
hierarchical  windows + 1              as all-at-once; a window's answer that cannot be read counts
                                       as a part without suspects

Whatever was ambiguous is said in `Attribution.notes`; no prediction counts as wrong wherever
attributions are scored. With k > 1 the majority counts: for all-at-once the agent first, then the
step among the answers that name this agent, ties going to the answer given first; a tie between
yes and no is no, a tie between the halves is the coin's.

No probabilities are given (all are 0), except by rerank, which deals the ranker's own out anew, and
by all-at-once with k > 1, where they are shares of the answers.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from lacewing_blame.attribution import Attribution, Evidence, Suspect
from lacewing_blame.errors import ConfigError
from lacewing_blame.events import Event, Trace
from lacewing_blame.llm import answers, prompts
from lacewing_blame.llm.asking import Asking
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.prompts import Options
from lacewing_blame.llm.rerank import rerank
from lacewing_blame.llm.verify import verified
from lacewing_blame.llm.windows import hierarchical

T = TypeVar("T")


@dataclass(frozen=True)
class Guess:
    """One answer of all-at-once."""

    agent: str | None
    event: Event | None
    text: str


def attribute(
    trace: Trace,
    method: str,
    client: Client,
    options: Options | None = None,
    prior: Attribution | None = None,
) -> Attribution:
    """Ask a model which agent, at which step, made a run fail.

    Args:
        trace: The run. Its label is never shown; its right answer only with `with_answer`.
        method: A name in `METHODS`.
        client: Whom to ask.
        options: What the questions contain.
        prior: What rerank starts from; by default the shipped ranker's answer.

    Raises:
        ConfigError: an unknown method; several samples at temperature 0; an endpoint that cannot
            be reached, refuses or keeps failing.
        DataError: the endpoint cannot take this log, such as one longer than its context.

    >>> from lacewing_blame.events import conversation
    >>> from lacewing_blame.llm.endpoint import Endpoint
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> from lacewing_blame.llm.replies import Reply
    >>> class Scripted(Client):
    ...     def ask(self, messages, sample=0):
    ...         return Reply('{"agent": "Ann", "step": 0}', 9)
    >>> client = Scripted(Endpoint("http://localhost:8000/v1", "m"))
    >>> found = attribute(trace, "all-at-once", client)
    >>> found.agent, found.step, found.calls, found.tokens
    ('Ann', 0, 1, 9)
    """
    options = options or Options()
    if method not in METHODS:
        raise ConfigError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    if options.samples < 1:
        raise ConfigError(f"samples must be at least 1, got {options.samples}")
    if options.samples > 1 and client.endpoint.temperature == 0:
        raise ConfigError(
            f"{options.samples} samples at temperature 0 are the same answer {options.samples} "
            "times: set a temperature such as 0.7, or one sample"
        )
    asking = Asking(trace, client, options)
    if options.with_answer and trace.expected is None:
        asking.note("the log holds no right answer: asked without it")
    found = rerank(asking, prior) if method == "rerank" else METHODS[method](asking)
    return verified(asking, found) if options.verify else found


def _all_at_once(asking: Asking) -> Attribution:
    """The whole log in one question."""
    guesses = _guesses(asking)
    agent = _most_common(g.agent for g in guesses)
    named = [g for g in guesses if g.agent == agent]
    index = _most_common(g.event.index for g in named if g.event is not None)
    chosen = next((g for g in named if g.event is not None and g.event.index == index), named[0])
    if agent is not None and chosen.event is not None and chosen.event.agent != agent:
        asking.note(f"the step named is not {agent}'s but {chosen.event.agent}'s; both stand")
    votes = Counter(g.event for g in guesses if g.event is not None)
    ranking = _voted(votes, index, asking.options.samples > 1)
    if chosen.event is not None:
        evidence = _evidence(chosen.event, chosen.text)
        ranking[0] = replace(ranking[0], evidence=evidence)
    return asking.attribution(
        "all-at-once", agent, index, ranking, answers.said(chosen.text, "reason")
    )


def _step_by_step(asking: Asking) -> Attribution:
    """Step after step, each with all before it, until the first yes."""
    found = _first_yes(asking, range(len(asking.trace.events)))
    if found is None:
        asking.note("no step was found guilty: no prediction")
        return asking.attribution("step-by-step", None, None)
    event, text = found
    return _one("step-by-step", asking, event, text)


def _binary_search(asking: Asking) -> Attribution:
    """Half after half, until one step is left."""
    trace, low, high = asking.trace, 0, len(asking.trace.events)
    while high - low > 1:
        # The first half takes the odd step.
        middle = low + (high - low + 1) // 2
        texts = asking.ask(prompts.which_half(trace, low, middle, high, asking.options))
        halves = [answers.first_half(text) for text in texts]
        first, second = halves.count(True), halves.count(False)
        if first == second:
            coin = random.Random(f"{asking.options.seed} {trace.id} {low} {high}")  # noqa: S311
            first = 1 if coin.random() < 0.5 else -1
            second = 0
            asking.note(
                f"no clear half of steps {trace.events[low].index} to "
                f"{trace.events[high - 1].index}: a coin chose the "
                f"{'first' if first > 0 else 'second'}"
            )
        low, high = (low, middle) if first > second else (middle, high)
    event = trace.events[low]
    return asking.attribution(
        "binary-search", event.agent, event.index, [Suspect(event.index, event.agent, 0.0)]
    )


def _hybrid(asking: Asking) -> Attribution:
    """The agent by all-at-once, then the first yes among this agent's steps."""
    guesses = _guesses(asking)
    agent = _most_common(g.agent for g in guesses)
    if agent is None:
        asking.note("no agent to look at: no prediction")
        return asking.attribution("hybrid", None, None)
    own = [at for at, event in enumerate(asking.trace.events) if event.agent == agent]
    found = _first_yes(asking, own)
    if found is None:
        asking.note(f"no step of {agent} was found guilty: the agent stands, without a step")
        why = next(answers.said(g.text, "reason") for g in guesses if g.agent == agent)
        return asking.attribution("hybrid", agent, None, (), why)
    event, text = found
    return _one("hybrid", asking, event, text)


METHODS: Mapping[str, Callable[[Asking], Attribution]] = {
    "all-at-once": _all_at_once,
    "step-by-step": _step_by_step,
    "binary-search": _binary_search,
    "hybrid": _hybrid,
    "rerank": rerank,
    "hierarchical": hierarchical,
}
"""Every method that asks an endpoint."""


def _guesses(asking: Asking) -> list[Guess]:
    """The answers to all-at-once, as far as they can be read."""
    trace, options = asking.trace, asking.options
    guesses = []
    for text in asking.ask(prompts.all_at_once(trace, options)):
        found = answers.last_object(text, "agent") or answers.last_object(text, "step")
        if found is None:
            asking.note("an answer holds no JSON object with agent and step: counted wrong")
            found = {}
        agent = answers.agent_named(found.get("agent"), trace, options.aliases)
        event = answers.step_named(found.get("step"), trace, options.step_numbers)
        if found and agent is None:
            asking.note(f"no agent of the log is called {_short(found.get('agent'))}")
        if found and event is None:
            asking.note(f"{_short(found.get('step'))} is no step of the log")
        guesses.append(Guess(agent, event, text))
    return guesses


def _first_yes(asking: Asking, positions: Iterable[int]) -> tuple[Event, str] | None:
    """The first of some positions whose newest step a majority finds guilty, with its answer."""
    for at in positions:
        event = asking.trace.events[at]
        texts = asking.ask(prompts.is_decisive(asking.trace, at, asking.options))
        verdicts = [answers.yes_or_no(text) for text in texts]
        if None in verdicts:
            asking.note(f"neither yes nor no at step {event.index}: counted as no")
        if 2 * verdicts.count(True) > len(verdicts):
            return event, texts[verdicts.index(True)]
    return None


def _one(method: str, asking: Asking, event: Event, text: str) -> Attribution:
    """An attribution to one step."""
    suspect = Suspect(event.index, event.agent, 0.0, _evidence(event, text))
    reason = answers.said(text, "reason")
    return asking.attribution(method, event.agent, event.index, [suspect], reason)


def _evidence(event: Event, text: str) -> tuple[Evidence, ...]:
    """The words an answer quotes, where they really stand in the step."""
    span = answers.quoted(answers.said(text, "quote"), event.text)
    reason = answers.said(text, "reason") or "quoted by the model"
    return (Evidence(event.index, *span, reason),) if span else ()


def _voted(votes: Counter[Event], first: int | None, shares: bool) -> list[Suspect]:
    """The steps that answers named: the chosen one, then by number of votes."""
    total = sum(votes.values())
    ordered = sorted(votes, key=lambda e: (e.index != first, -votes[e]))
    return [Suspect(e.index, e.agent, votes[e] / total if shares else 0.0) for e in ordered]


def _most_common(values: Iterable[T | None]) -> T | None:
    """The value named most often, the earlier one of a tie; None if none is named."""
    counted = Counter(value for value in values if value is not None)
    return counted.most_common(1)[0][0] if counted else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
