"""What kind of run a log shows, which decides by what it is ranked.

Who&When's two kinds of runs are known well: short conversations in which everybody acts (`flat`),
and runs that a coordinator with a ledger leads (`coordinated`). A person asks at the start and then
keeps out; what an agent wants to have run stands in its words, not in a call. Everything else is
`general`, ranked by signals that mean the same in every system.
"""

from lacewing_blame.events import Trace
from lacewing_blame.formats.common import is_person
from lacewing_blame.ranker.run import Run
from lacewing_blame.ranker.seen import Kind

LONGEST = {"flat": 15, "coordinated": 195}
"""Steps: half as many again as the longest run learned from (10 and 130)."""
NAMELESS = {"agent", "ai", "assistant", "bot", "chatbot", "llm", "model", "unknown"}
"""What an agent is called that was given no name."""


def kind_of(trace: Trace) -> Kind:
    """The kind of run.

    Args:
        trace: The run; its label is not looked at.

    >>> from lacewing_blame.events import Event
    >>> talk = (Event(0, "Planner", "Count."), Event(1, "Counter", "Four."))
    >>> kind_of(Trace("a", "How many?", talk, "autogen"))
    'flat'
    """
    if unlike_whoandwhen(trace) is not None:
        return "general"
    return "flat" if Run(trace).coordinator is None else "coordinated"


def unlike_whoandwhen(trace: Trace) -> str | None:
    """Why a log is none of Who&When's shape, in words; None where it is of that shape.

    Args:
        trace: The run; its label is not looked at.

    >>> from lacewing_blame.events import Event
    >>> alone = (Event(0, "assistant", "Four."),)
    >>> unlike_whoandwhen(Trace("b", "How many?", alone, "openai"))
    'its agents have no names'
    """
    if any(event.kind == "tool_call" for event in trace.events):
        return "its agents call tools"
    began = next((at for at, event in enumerate(trace.events) if event.blamable), 0)
    if any(is_person(event.agent) for event in trace.events[began:]):
        return "a person takes part in it"
    if all(name.casefold() in NAMELESS for name in trace.agents()):
        return "its agents have no names"
    if len({event.agent for event in trace.events}) < 2:
        return "only one agent acts in it"
    kind = "flat" if Run(trace).coordinator is None else "coordinated"
    if len(trace.events) > LONGEST[kind]:
        led = "without" if kind == "flat" else "with"
        return f"it is {len(trace.events)} steps long {led} a coordinator"
    if kind == "coordinated" and not any(event.kind == "ledger" for event in trace.events):
        return "its coordinator keeps no ledger"
    return None
