"""Long logs: part by part, then once over what the parts gave; the suspected steps are kept whole.

Parts hold whole steps and as many characters as one question may show. What a part gives is a short
summary and up to three suspected steps with the words that tell. The last question gets all
summaries, and of the suspected steps the text itself, so that it judges evidence and no hearsay.
"""

from lacewing_blame.attribution import Attribution, Evidence, Suspect
from lacewing_blame.events import Trace
from lacewing_blame.llm import answers, prompts
from lacewing_blame.llm.asking import Asking

MOST = 20
"""Suspected steps shown to the last question, the latest left out."""


def parts(trace: Trace, window: int) -> list[tuple[int, int]]:
    """The log cut into parts of whole steps, each up to so many characters; from, and up to.

    >>> from lacewing_blame.events import conversation
    >>> parts(conversation("", ("A", "x" * 60), ("A", "x" * 60), ("A", "x" * 20)), 100)
    [(0, 1), (1, 3)]
    """
    found, start, size = [], 0, 0
    for at, event in enumerate(trace.events):
        length = min(len(event.text), window)
        if size and size + length > window:
            found.append((start, at))
            start, size = at, 0
        size += length
    return [*found, (start, len(trace.events))]


def hierarchical(asking: Asking) -> Attribution:
    """Ask part by part, then for the verdict.

    >>> from lacewing_blame.events import conversation
    >>> from lacewing_blame.llm.client import Client
    >>> from lacewing_blame.llm.endpoint import Endpoint
    >>> from lacewing_blame.llm.replies import Reply
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> class Scripted(Client):
    ...     def ask(self, messages, sample=0):
    ...         return Reply('{"agent": "Ann", "step": 0}', 9)
    >>> client = Scripted(Endpoint("http://localhost:8000/v1", "m"))
    >>> hierarchical(Asking(trace, client, prompts.Options())).step
    0
    """
    trace, options = asking.trace, asking.options
    place = {event.index: at for at, event in enumerate(trace.events)}
    summaries: list[str] = []
    suspects: dict[int, str] = {}
    for low, high in parts(trace, options.window):
        first, last = trace.events[low].index, trace.events[high - 1].index
        for text in asking.ask(prompts.window(trace, low, high, options)):
            told = answers.said(text, "summary")
            if not told:
                asking.note(f"no summary of steps {first} to {last}: taken as nothing to tell")
            summaries.append(f"steps {first} to {last}: {told or '(nothing told)'}")
            for step, reason in answers.suspected(text, trace):
                if low <= place[step] < high:
                    suspects.setdefault(place[step], reason)
    shown = sorted(suspects.items())[:MOST]
    text = asking.ask(prompts.conclude(trace, summaries, shown, options))[0]
    found = answers.last_object(text, "step") or answers.last_object(text, "agent") or {}
    event = answers.step_named(found.get("step"), trace, numbered=True)
    agent = answers.agent_named(found.get("agent"), trace, options.aliases)
    if event is None:
        asking.note("the answer names no step of the log")
    elif agent is None:
        agent = event.agent
    ranking = [] if event is None else [_suspect(trace, place[event.index], text)]
    ranking += [
        Suspect(e.index, e.agent, 0.0) for at, _ in shown if (e := trace.events[at]) is not event
    ]
    return asking.attribution(
        "hierarchical",
        agent,
        event.index if event is not None else None,
        ranking,
        answers.said(text, "reason"),
    )


def _suspect(trace: Trace, at: int, text: str) -> Suspect:
    """The step named, with the words the answer quotes where they really stand in it."""
    event = trace.events[at]
    span = answers.quoted(answers.said(text, "quote"), event.text)
    reason = answers.said(text, "reason") or "quoted by the model"
    evidence = (Evidence(event.index, *span, reason),) if span else ()
    return Suspect(event.index, event.agent, 0.0, evidence)
