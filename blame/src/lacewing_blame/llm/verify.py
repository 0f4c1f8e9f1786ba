"""A second look: the step named is put to the model again, as a claim to be doubted."""

from dataclasses import replace

from lacewing_blame.attribution import Attribution
from lacewing_blame.llm import answers, prompts
from lacewing_blame.llm.asking import Asking

RIVALS = 4
"""Other steps of the ranking that the model may name instead."""


def verified(asking: Asking, found: Attribution) -> Attribution:
    """The answer, confirmed or corrected; an answer without a step stays as it is.

    The model may only choose another step of the ranking: a free choice would be a new answer
    rather than a check of this one.

    >>> from lacewing_blame.events import conversation
    >>> from lacewing_blame.llm.client import Client
    >>> from lacewing_blame.llm.endpoint import Endpoint
    >>> from lacewing_blame.llm.replies import Reply
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> class Scripted(Client):
    ...     def ask(self, messages, sample=0):
    ...         return Reply('{"holds": "no", "step": 0}', 9)
    >>> from lacewing_blame.attribution import Suspect
    >>> client = Scripted(Endpoint("http://localhost:8000/v1", "m"))
    >>> asking = Asking(trace, client, prompts.Options())
    >>> ranking = Suspect(1, "Bob", 0.0), Suspect(0, "Ann", 0.0)
    >>> verified(asking, Attribution("run", "m", "Bob", 1, False, ranking)).agent
    'Ann'
    """
    trace = asking.trace
    place = {event.index: at for at, event in enumerate(trace.events)}
    if found.step is None:
        return found
    steps = [s.step for s in found.ranking if s.step != found.step][:RIVALS]
    chat = prompts.check(
        trace, place[found.step], [place[s] for s in steps], found.reason, asking.options
    )
    text = asking.ask(chat)[0]
    said = answers.last_object(text, "holds") or {}
    holds = answers.yes_or_no(str(said.get("holds", "")))
    counted = replace(found, calls=asking.calls, tokens=asking.tokens, written=asking.written)
    if holds is not False:
        note = "confirmed by a second look" if holds else "the second look says neither yes nor no"
        return replace(counted, notes=(*found.notes, note))
    event = answers.step_named(said.get("step"), trace, numbered=True)
    if event is None or event.index not in steps:
        note = "a second look doubts this step and names no other suspect"
        return replace(counted, notes=(*found.notes, note))
    chosen = next(s for s in found.ranking if s.step == event.index)
    rest = tuple(s for s in found.ranking if s.step != event.index)
    return replace(
        counted,
        agent=event.agent,
        step=event.index,
        ranking=(chosen, *rest),
        reason=answers.said(text, "reason") or found.reason,
        notes=(*found.notes, f"a second look moved the suspicion from step {found.step}"),
    )
