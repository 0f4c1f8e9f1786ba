"""The page: what audit.json says, for people. One file, nothing fetched, all text escaped."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lacewing.pages.templating import asset, environment
from lacewing.report import charts
from lacewing.report.page import script, style
from lacewing.verification.finding import YES
from lacewing.watch.audit.points import ABOUT
from lacewing.watch.audit.schema import Audit, Audited
from lacewing.watch.audit.statement import outcomes, result, short_verdict

HERE = Path(__file__).parent
WORDED = ("templates/audit.html", "page.py", "points.py", "limits.py", "statement.py")
TITLES = {"yes": "answered", "in part": "in part", "no": "nothing to say"}


def page(audit: Audit) -> str:
    """The whole page."""
    return (
        environment(HERE / "templates")
        .get_template("audit.html")
        .render(
            title=f"lacewing audit: {audit.model.name or audit.model.source}",
            style=asset(style()),
            script=asset(script()),
            audit=audit,
            model=audit.model,
            result=result(audit),
            facts=_facts(audit),
            figures={circuit.name: _figure(circuit) for circuit in audit.circuits},
            yes=YES,
            short_verdict=short_verdict,
            about=ABOUT,
            annexes=[(one, [p for p in audit.points if p.annex == one]) for one in ("IV", "XI")],
            titles=TITLES,
            sides=[("model", audit.model.files)]
            + [(circuit.name, circuit.files) for circuit in audit.circuits],
        )
    )


def wording() -> str:
    """A hash of what words the page and all that is derived: the same words from the same facts."""
    digest = hashlib.sha256()
    for name in WORDED:
        digest.update((HERE / name).read_bytes())
    digest.update((style() + script()).encode())
    return digest.hexdigest()


def _facts(audit: Audit) -> list[tuple[str, str]]:
    each = [passed for _, passed in outcomes(audit)]
    both = sum(c.sufficient.verdict is c.necessary.verdict is True for c in audit.circuits)
    return [
        (result(audit), f"{sum(one is True for one in each)} of {len(each)} tests passed"),
        (f"{both} of {len(audit.circuits)}", "circuits are enough and needed (short test)"),
        (f"{audit.model.parameters / 1e6:.2f} M", f"parameters, {audit.model.nonzero:,} not zero"),
        (f"{sum(c.pairs for c in audit.circuits)}", "test pairs, whose losses are all kept"),
    ]


def _figure(circuit: Audited) -> Markup:
    """The losses on one scale, drawn from the audit's numbers alone."""
    plain: dict[str, Any] = dataclasses.asdict(circuit)
    drawn = charts.verification(plain, circuit.target_loss)
    return Markup(drawn)  # noqa: S704 - drawn here, its texts escaped
