"""The parts of a log's page that sum it up: the verdict, the suspects, the values."""

from collections.abc import Mapping, Sequence
from html import escape

from lacewing_blame.attribution import Attribution, Suspect
from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker.flow import Value

QUOTE = 160
"""Characters of evidence that are quoted in the list of suspects."""
REASONS = 4
"""Reasons listed per suspect."""
LONG = 400
"""Characters of a task or answer above which it is folded."""
REPLAY = "replay"
"""The only method that may speak of a cause: it ran the correction."""


def head(trace: Trace, attribution: Attribution) -> str:
    """The verdict and the facts around it."""
    facts = [
        ("Task", _long(trace.task or "the log does not say")),
        ("Method", _method(attribution)),
        ("Annotated", _label(trace, attribution)),
        ("Expected answer", _long(trace.expected) if trace.expected is not None else ""),
        ("The model's words" if attribution.calls else "Why", _long(attribution.reason)),
        ("Notes", "<br>".join(map(escape, dict.fromkeys((*trace.notes, *attribution.notes))))),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{body}</dd>" for name, body in facts if body)
    return (
        '<button id="theme" type="button" aria-label="switch between light and dark">light / dark'
        f"</button><p class=soft>{escape(trace.id)} · {len(trace.events)} steps · "
        f"{escape(trace.format)}</p><h1>{_verdict(trace, attribution)}</h1>"
        f"<p class=soft>{_standing(attribution)}</p><dl>{rows}</dl>"
    )


def suspects(trace: Trace, attribution: Attribution, most: int) -> str:
    """The first suspects, each with the words that speak for or against it."""
    if not attribution.ranking:
        return "<section><h2>Suspects</h2><p class=soft>None was named.</p></section>"
    texts = {event.index: event.text for event in trace.events}
    given = any(s.probability for s in attribution.ranking)
    items = "".join(_suspect(s, texts, given) for s in attribution.ranking[:most])
    more = len(attribution.ranking) - most
    note = f"<p class=soft>{more} further steps are less suspected.</p>" if more > 0 else ""
    return f"<section><h2>Suspects</h2><ol class=suspects>{items}</ol>{note}</section>"


def values(trace: Trace, found: Sequence[Value]) -> str:
    """Each value of the final answer with the step it first stood in and its way from there."""
    if not found:
        return (
            "<section><h2>The answer's values</h2><p class=soft>The final answer holds no number, "
            "name or address that can be followed.</p></section>"
        )
    events = {event.index: event for event in trace.events}
    items = "".join(_value(number, value, events) for number, value in enumerate(found))
    return (
        "<section><h2>The answer's values</h2><p class=soft>Open one to see its way through the "
        f"steps.</p>{items}</section>"
    )


def legend(trace: Trace, attribution: Attribution) -> str:
    """What the signs of the timeline mean, as far as it holds them."""
    most = max((s.probability for s in attribution.ranking), default=0.0)
    signs = (
        ["<b class=named-sign>▼</b> named by the method"] if attribution.step is not None else []
    )
    signs += ["<b class=label-sign>◇</b> annotated by a person"] if trace.label else []
    signs += [f"strongest: {most:.0%}"] if most else []
    kinds = {event.kind for event in trace.events if event.blamable}
    signs += ["light: plans and hand-overs"] if kinds & {"plan", "ledger", "handoff"} else []
    signs += ["green: tools"] if kinds & {"tool_call", "tool_result"} else []
    signs += ["pale: people and terminals"] if not all(e.blamable for e in trace.events) else []
    return " · ".join(signs)


def _verdict(trace: Trace, attribution: Attribution) -> str:
    if attribution.abstained:
        return "No suspect: the method does not know"
    if attribution.agent is None and attribution.step is None:
        return "No suspect: the method found none"
    word = "Cause" if attribution.method == REPLAY else "Suspected"
    agent = escape(attribution.agent or "an unnamed agent")
    if attribution.step is None:
        return f"{word}: {agent}, no step"
    step = f'<a href="#s{attribution.step}">step {attribution.step}</a>'
    # A method may blame one agent by the sum of its steps and yet find another's step the worst.
    owner = next((e.agent for e in trace.events if e.index == attribution.step), None)
    whose = "" if owner in (None, attribution.agent) else f" <small>by {escape(owner)}</small>"
    return f"{word}: {agent}, {step}{whose}"


def _standing(attribution: Attribution) -> str:
    """How much the verdict is worth."""
    if attribution.method == REPLAY:
        return "The run was repeated with this step corrected."
    log_only = "Read off the log alone: a suspicion, not a proof."
    first = next((s for s in attribution.ranking if s.probability), None)
    if first is None:
        return log_only
    return (
        f"Step {first.step} has probability {first.probability:.0%}, the largest of "
        f"{len(attribution.ranking)}. {log_only}"
    )


def _method(attribution: Attribution) -> str:
    cost = f", {attribution.calls} questions" if attribution.calls else ""
    cost += f", {attribution.tokens:,} tokens" if attribution.tokens else ""
    return f"{escape(attribution.method)}{cost}"


def _label(trace: Trace, attribution: Attribution) -> str:
    """What a person said, and whether the method agrees."""
    label = trace.label
    if label is None:
        return ""
    agrees = ""
    if not attribution.abstained:
        step = attribution.step == label.step
        agent = (attribution.agent or "").casefold() == label.agent.casefold()
        agrees = (
            " <small>"
            + (
                "agrees with the method"
                if step and agent
                else "same agent, other step"
                if agent
                else "same step, other agent"
                if step
                else "differs from the method"
            )
            + "</small>"
        )
    reason = f" · {_long(label.reason)}" if label.reason else ""
    return f'{escape(label.agent)}, <a href="#s{label.step}">step {label.step}</a>{agrees}{reason}'


def _suspect(suspect: Suspect, texts: Mapping[int, str], given: bool) -> str:
    percent = f"<span class=p>{suspect.probability:.0%}</span>" if given else ""
    meter = (
        f'<svg class=meter viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        "<rect class=cell width=100 height=4 />"
        f'<rect class=heat width="{100 * suspect.probability:.1f}" height=4 /></svg>'
        if given
        else ""
    )
    reasons = _reasons(suspect, texts)
    return (
        f'<li><a href="#s{suspect.step}"><b>step {suspect.step}</b> {escape(suspect.agent)}'
        f"{percent}</a>{meter}" + (f"<ul class=reasons>{reasons}</ul>" if reasons else "") + "</li>"
    )


def _reasons(suspect: Suspect, texts: Mapping[int, str]) -> str:
    """What speaks for a suspect, each reason once, and no words quoted twice."""
    once = {e.reason: e for e in sorted(suspect.evidence, key=lambda e: e.weight)}
    speaking = sorted(once.values(), key=lambda e: -e.weight)[:REASONS]
    items, before = [], {""}
    for evidence in speaking:
        quote = " ".join(texts.get(evidence.step, "")[evidence.start : evidence.end].split())
        kind = "against" if evidence.weight < 0 else "for"
        shown = "" if quote in before else f" <q>{escape(_clip(quote, QUOTE))}</q>"
        before.add(quote)
        items.append(f"<li class={kind}>{escape(evidence.reason)}{shown}</li>")
    return "".join(items)


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _value(number: int, value: Value, events: Mapping[int, Event]) -> str:
    """One value: its text, where it first stood, and links to every step that holds it."""
    steps = sorted({value.origin, *value.seen})
    links = " → ".join(f'<a href="#s{s}" title="{escape(events[s].agent)}">{s}</a>' for s in steps)
    agent = escape(events[value.origin].agent)
    alone = value.origin == max(value.seen, default=value.origin)
    origin = (
        f"in no step before the answer itself ({value.origin}, {agent})"
        if alone
        else f"from step {value.origin}, {agent}"
    )
    return (
        f'<details class=value data-value="{number}"><summary>'
        f"<code>{escape(_clip(value.text, 60))}</code> <small>{origin}</small></summary>"
        f"<p>{links}</p></details>"
    )


def _long(text: str) -> str:
    """A text, folded where it is long."""
    if len(text) <= LONG:
        return escape(text)
    cut = text.rfind(" ", LONG - 120, LONG - 60)
    cut = cut if cut > 0 else LONG - 60
    return (
        f"{escape(text[:cut])}<details class=fold><summary>{len(text) - cut:,} more characters"
        f"</summary>{escape(text[cut:])}</details>"
    )
