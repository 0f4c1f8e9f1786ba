"""One log as one HTML page: who acted when, what is suspected and why, where the answer came from.

The page is whole in itself: nothing is fetched, and its content security policy lets only its own
style and script run, which are named by their hashes. Whatever the log holds is inserted as text.
It can be read without its script; the script adds search, keys and the paths of values.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from lacewing_blame.attribution import Attribution, Evidence
from lacewing_blame.events import Event, Trace
from lacewing_blame.files import write_bytes
from lacewing_blame.pages import head as page_head
from lacewing_blame.pages.text import HEAD, Mark, marked, places
from lacewing_blame.pages.timeline import lanes, timeline
from lacewing_blame.ranker.flow import Value, data_flow

TOP = 5
"""Suspects listed beside the steps."""
EVIDENCE_FROM = 20
"""Suspects whose evidence is marked; further down the ranking it would mark nearly everything."""
SHOWN = 900
"""Characters of a suspected step that are shown before its first fold."""


def page(trace: Trace, attribution: Attribution, output: Path) -> Path:
    """Write the page of one log.

    Args:
        trace: The run.
        attribution: What a method says of it.
        output: The file to write.

    Returns:
        The file.

    Raises:
        ArtifactError: the file cannot be written.
    """
    write_bytes(output, document(trace, attribution).encode("utf-8", "replace"))
    return output


def document(trace: Trace, attribution: Attribution) -> str:
    """The page as text."""
    values = data_flow(trace)
    heat = heat_of(attribution)
    found = _evidence(attribution)
    top = [suspect.step for suspect in attribution.ranking[:TOP]]
    label = trace.label.step if trace.label else None
    drawing = timeline(trace, heat, [_path(v) for v in values], attribution.step, label)
    named = {attribution.step: "suspect", label: "annotated"}
    probability = {s.step: s.probability for s in attribution.ranking}
    marks = _marks(trace, found, values)
    steps = "".join(
        _step(
            event,
            marks[event.index],
            found[event.index],
            heat.get(event.index, 0.0),
            probability.get(event.index, 0.0),
            SHOWN if event.index in (*top, *named) else HEAD,
        )
        for event in trace.events
    )
    style, script = _asset("page.css"), _asset("page.js")
    return _asset("page.html").format(
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        title=escape(f"lacewing: {trace.id}"),
        style=style,
        head=page_head.head(trace, attribution),
        lanes=_lanes(trace, attribution),
        drawing=drawing,
        legend=page_head.legend(trace, attribution),
        suspects=page_head.suspects(trace, attribution, TOP),
        values=page_head.values(trace, values),
        steps=steps,
        script=script,
    )


def heat_of(attribution: Attribution) -> dict[int, float]:
    """Suspicion by step, 1 for the strongest; for a method without probabilities, its first."""
    most = max((s.probability for s in attribution.ranking), default=0.0)
    if most > 0:
        return {s.step: s.probability / most for s in attribution.ranking}
    return {s.step: 1.0 for s in attribution.ranking[:1]}


def _evidence(attribution: Attribution) -> Mapping[int, list[Evidence]]:
    """Evidence by the step whose text it stands in, the weightiest first, each once."""
    found: dict[int, list[Evidence]] = defaultdict(list)
    for suspect in attribution.ranking[:EVIDENCE_FROM]:
        for evidence in suspect.evidence:
            if evidence not in found[evidence.step]:
                found[evidence.step].append(evidence)
    for listed in found.values():
        listed.sort(key=lambda e: -abs(e.weight))
    return found


def _marks(
    trace: Trace, found: Mapping[int, list[Evidence]], values: Sequence[Value]
) -> Mapping[int, list[Mark]]:
    """What is marked in each step's text."""
    marks: dict[int, list[Mark]] = defaultdict(list)
    for step, listed in found.items():
        marks[step] += [
            Mark(e.start, e.end, "against" if e.weight < 0 else "for", e.reason) for e in listed
        ]
    texts = {event.index: event.text for event in trace.events}
    for number, value in enumerate(values):
        for step in value.seen:
            marks[step] += [
                Mark(start, end, "value", "a value of the final answer", number)
                for start, end in places(value.text, texts[step])
            ]
    return marks


def _path(value: Value) -> list[int]:
    return sorted({value.origin, *value.seen})


def _lanes(trace: Trace, attribution: Attribution) -> str:
    """The names left of the timeline."""
    rows = []
    for agent in lanes(trace):
        share = attribution.agents.get(agent)
        small = f" <small>{share:.0%}</small>" if share is not None else ""
        rows.append(f"<li title={_quoted(agent)}><span>{escape(agent)}</span>{small}</li>")
    return "".join(rows)


def _step(
    event: Event,
    marks: Sequence[Mark],
    evidence: Sequence[Evidence],
    heat: float,
    probability: float,
    visible: int,
) -> str:
    """One step: its head, its text, and what speaks for or against it."""
    facts = [event.kind.replace("_", " ")] if event.kind != "message" else []
    facts += [event.tool] if event.tool else []
    # A framework's suffix, such as "(thought)", without the name again.
    suffix = event.role.removeprefix(event.agent).strip(" ()")
    facts += [suffix] if suffix else []
    facts += [event.status] if event.status else []
    small = f"<small>{escape(' · '.join(facts))}</small>" if facts else ""
    percent = (
        f'<span class=p title="probability">{probability:.0%}</span>'
        if probability >= 0.005
        else ""
    )
    reasons = "".join(
        f"<li class={'against' if weight < 0 else 'for'}>{escape(reason)}"
        + (f" <small>{weight:+.2f}</small></li>" if weight else "</li>")
        for reason, weight in _reasons(evidence)
    )
    text = marked(event.text, marks, visible) if event.text.strip() else "<em>(empty)</em>"
    return (
        f'<article id="s{event.index}" class="step h{round(heat * 10)}" tabindex="-1">'
        f'<h3><a href="#s{event.index}">{event.index}</a> <b>{escape(event.agent)}</b> '
        f"{small}{percent}</h3>"
        + (f"<ul class=reasons>{reasons}</ul>" if reasons else "")
        + f"<div class=text>{text}</div></article>"
    )


def _reasons(evidence: Sequence[Evidence]) -> list[tuple[str, float]]:
    """Each reason once, however many places show it, with its whole weight."""
    total: dict[str, float] = defaultdict(float)
    for one in evidence:
        total[one.reason] += one.weight
    return list(total.items())


def _quoted(text: str) -> str:
    return f'"{escape(text)}"'


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
