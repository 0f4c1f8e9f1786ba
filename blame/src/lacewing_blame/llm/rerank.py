"""A model re-orders the ranker's first ten; one question, a part of a long log's tokens.

The ranker's probabilities of these ten are dealt out anew in the model's order, the largest to the
first; all other steps keep theirs. So the sum over the ten, which is what the ranker knows, stays,
and only who of them is first is the model's word. With several samples the order is by mean place.
"""

from collections.abc import Sequence
from dataclasses import replace

from lacewing_blame.attribution import Attribution, Evidence, Suspect
from lacewing_blame.events import Event
from lacewing_blame.llm import answers, prompts
from lacewing_blame.llm.asking import Asking

TOP = 10
"""Candidates shown to the model."""


def rerank(asking: Asking, prior: Attribution | None = None) -> Attribution:
    """Put the top of a ranking in a model's order.

    Args:
        asking: The log and whom to ask.
        prior: The ranking to start from; by default the shipped ranker's.

    >>> from lacewing_blame.events import conversation
    >>> from lacewing_blame.llm.client import Client
    >>> from lacewing_blame.llm.endpoint import Endpoint
    >>> from lacewing_blame.llm.prompts import Options
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> from lacewing_blame.llm.replies import Reply
    >>> class Scripted(Client):
    ...     def ask(self, messages, sample=0):
    ...         return Reply('{"order": [1, 0]}', 9)
    >>> client = Scripted(Endpoint("http://localhost:8000/v1", "m"))
    >>> rerank(Asking(trace, client, Options())).step
    1
    """
    if prior is None:
        from lacewing_blame.ranker.ranking import rank

        prior = rank(asking.trace)
    position = {event.index: at for at, event in enumerate(asking.trace.events)}
    top = prior.ranking[:TOP]
    steps = [suspect.step for suspect in top]
    texts = asking.ask(
        prompts.order(asking.trace, sorted(position[s] for s in steps), asking.options)
    )
    orders = [answers.step_order(text, steps) for text in texts]
    usable = [order for order in orders if order is not None]
    if len(usable) < len(orders):
        asking.note("an answer holds no usable order of the candidates: passed over")
    if not usable:
        asking.note("the ranker's order stands")
        return _finished(asking, prior, prior.ranking, prior.reason)
    best = sorted(steps, key=lambda s: (sum(o.index(s) for o in usable), steps.index(s)))
    text = next((t for t, o in zip(texts, orders, strict=True) if o and o[0] == best[0]), "")
    event = asking.trace.events[position[best[0]]]
    ranking = _dealt(top, best) + prior.ranking[TOP:]
    first = replace(ranking[0], evidence=_told(event, text) + ranking[0].evidence)
    return _finished(asking, prior, (first, *ranking[1:]), answers.said(text, "reason"))


def _dealt(top: Sequence[Suspect], order: Sequence[int]) -> tuple[Suspect, ...]:
    """The suspects in a new order, the largest probability first."""
    by_step = {suspect.step: suspect for suspect in top}
    shares = sorted((suspect.probability for suspect in top), reverse=True)
    return tuple(
        replace(by_step[step], probability=share) for step, share in zip(order, shares, strict=True)
    )


def _told(event: Event, text: str) -> tuple[Evidence, ...]:
    span = answers.quoted(answers.said(text, "quote"), event.text)
    reason = answers.said(text, "reason") or "quoted by the model"
    return (Evidence(event.index, *span, reason),) if span else ()


def _finished(
    asking: Asking, prior: Attribution, ranking: tuple[Suspect, ...], reason: str
) -> Attribution:
    """The re-ordered attribution; agents' probabilities follow the steps'."""
    agents: dict[str, float] = {}
    for suspect in ranking:
        agents[suspect.agent] = agents.get(suspect.agent, 0.0) + suspect.probability
    agents = dict(sorted(agents.items(), key=lambda item: -item[1]))
    # Where the ranker names nobody, the model's word decides; without one nobody is named.
    silent = prior.abstained and ranking == prior.ranking
    first = None if silent else ranking[0]
    found = asking.attribution(
        "rerank",
        first.agent if first else None,
        first.step if first else None,
        ranking,
        reason,
    )
    return replace(found, abstained=silent, agents=agents, notes=(*prior.notes, *found.notes))
