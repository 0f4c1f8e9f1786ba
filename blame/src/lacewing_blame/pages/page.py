"""One log as one HTML page: who acted when, what is suspected and why, where the answer came from.

The page is whole in itself: nothing is fetched, and its content security policy lets only its own
style and script run, which are named by their hashes. Whatever the log holds is inserted as text.
It can be read without its script; the script adds search, keys and the paths of values.
"""

from pathlib import Path

from lacewing_blame.attribution import Attribution
from lacewing_blame.events import Trace
from lacewing_blame.files import write_bytes
from lacewing_blame.pages.aside import followed, suspects
from lacewing_blame.pages.head import head, legend
from lacewing_blame.pages.steps import heat_of, steps
from lacewing_blame.pages.templating import asset, environment
from lacewing_blame.pages.timeline import lanes, timeline
from lacewing_blame.ranker.flow import data_flow

TOP = 5
"""Suspects listed beside the steps."""


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

    >>> import tempfile
    >>> from lacewing_blame.events import Event
    >>> trace = Trace("a", "How many?", (Event(0, "Ann", "Four."),), "jsonl")
    >>> found = Attribution("a", "ranker", "Ann", 0, False, ())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page(trace, found, Path(folder) / "a.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    write_bytes(output, document(trace, attribution).encode("utf-8", "replace"))
    return output


def document(trace: Trace, attribution: Attribution) -> str:
    """The page as text.

    Args:
        trace: The run.
        attribution: What a method says of it.

    >>> from lacewing_blame.events import Event
    >>> trace = Trace("a", "How many?", (Event(0, "Ann", "<b>Four.</b>"),), "jsonl")
    >>> "&lt;b&gt;Four.&lt;/b&gt;" in document(trace, Attribution("a", "m", "Ann", 0, False, ()))
    True
    """
    values = data_flow(trace)
    label = trace.label.step if trace.label else None
    top = {suspect.step for suspect in attribution.ranking[:TOP]}
    named = {step for step in (attribution.step, label) if step is not None}
    paths = [sorted({value.origin, *value.seen}) for value in values]
    shares = attribution.agents
    return (
        environment()
        .get_template("page.html")
        .render(
            title=f"lacewing: {trace.id}",
            style=asset("page.css"),
            script=asset("page.js"),
            head=head(trace, attribution),
            lanes=[
                {"agent": agent, "share": f"{shares[agent]:.0%}" if agent in shares else ""}
                for agent in lanes(trace)
            ],
            drawing=timeline(trace, heat_of(attribution), paths, attribution.step, label),
            legend=legend(trace, attribution),
            suspects=suspects(trace, attribution, TOP),
            further=max(0, len(attribution.ranking) - TOP),
            values=followed(trace, values),
            steps=steps(trace, attribution, values, frozenset(top | named)),
        )
    )
