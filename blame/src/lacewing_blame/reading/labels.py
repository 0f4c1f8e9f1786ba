"""Who and when as annotated beside a log, and what is odd about it."""

from collections.abc import Iterator, Mapping
from typing import Any

from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Label


def read_label(
    name: str, header: Mapping[str, Any], events: tuple[Event, ...]
) -> tuple[Label | None, tuple[str, ...]]:
    """Who and when as annotated, and what is odd about it.

    Args:
        name: The file's name, for errors.
        header: What stands beside the records.
        events: The run.

    Returns:
        The label, or None where there is none, and notes on its defects.

    Raises:
        DataError: half a label, or one outside of the log.

    >>> hand_over = Event(0, "Boss", "Go.", role="Boss (-> Web)")
    >>> read_label("a.json", {"label": {"agent": "Boss (-> Web)", "step": 0}}, (hand_over,))
    (Label(agent='Boss', step=0, reason=''), ())
    >>> read_label("a.json", {"label": {"agent": "B", "step": 0}}, (Event(0, "A", "Hi."),))[1]
    ('label: step 0 was made by A, not by B', 'label: no agent of this log is called B')
    """
    given = header.get("label")
    fields = dict(given) if isinstance(given, Mapping) else {}
    agent = fields.get("agent", header.get("mistake_agent"))
    step = fields.get("step", header.get("mistake_step"))
    if agent is None and step is None:
        return None, ()
    if agent is None or step is None:
        missing = "agent" if agent is None else "step"
        raise DataError(f"{name}: the label has no {missing}; it needs an agent and a step")
    try:
        at = int(str(step))
    except ValueError as error:
        raise DataError(f"{name}: the label's step is {step!r:.40}, which is no number") from error
    acting = {event.index: event.agent for event in events}
    if at not in acting:
        raise DataError(
            f"{name}: the label names step {at}, outside of the log "
            f"(steps {min(acting)} to {max(acting)})"
        )
    reason = str(fields.get("reason", header.get("mistake_reason")) or "")
    label = Label(_named(str(agent).strip(), events), at, reason)
    return label, tuple(_oddities(label, acting))


def _named(agent: str, events: tuple[Event, ...]) -> str:
    """The agent that a label means, which may stand in it as the speaker does in the log."""
    if any(event.agent.casefold() == agent.casefold() for event in events):
        return agent
    spoke = (event.agent for event in events if event.role.casefold() == agent.casefold())
    return next(spoke, agent)


def _oddities(label: Label, acting: Mapping[int, str]) -> Iterator[str]:
    there, names = acting[label.step], set(acting.values())
    if there.casefold() != label.agent.casefold():
        yield f"label: step {label.step} was made by {there}, not by {label.agent}"
    alike = next((n for n in names if n.casefold() == label.agent.casefold()), None)
    if alike is None:
        yield f"label: no agent of this log is called {label.agent}"
    elif label.agent not in names:
        yield f"label: {label.agent} is spelled {alike} in the log"
