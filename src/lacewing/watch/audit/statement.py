"""The statement: an in-toto Statement v1 with a test-result predicate v0.1.

Its subjects are the files of the model and of the circuits, its configuration is audit.json. A test
that an interval leaves unresolved is among the warned ones: the format has no other place for it,
and calls those passed; here they have not.
"""

import hashlib
import json
from typing import Any

from lacewing.verification.finding import verdict
from lacewing.watch.audit.schema import AUDIT, Audit, Audited

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
PLACES = {True: "passedTests", None: "warnedTests", False: "failedTests"}


def statement(audit: Audit, content: bytes) -> bytes:
    """The statement's file.

    Args:
        audit: The audit.
        content: Its file, audit.json.
    """
    sides = [("model", audit.model.files)]
    sides += [(f"circuits/{circuit.name}", circuit.files) for circuit in audit.circuits]
    subject = [
        {"name": f"{side}/{file.name}", "digest": {"sha256": file.sha256}}
        for side, files in sides
        for file in files
    ]
    results: dict[str, Any] = {name: [] for name in PLACES.values()}
    for name, passed in outcomes(audit):
        results[PLACES[passed]].append(name)
    predicate = {
        "result": result(audit),
        "configuration": [
            {
                "name": AUDIT,
                "digest": {"sha256": hashlib.sha256(content).hexdigest()},
                "mediaType": "application/json",
            }
        ],
        **results,
    }
    made = {"_type": TYPE, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}
    return (json.dumps(made, indent=1) + "\n").encode()


def result(audit: Audit) -> str:
    """PASSED, WARNED where a test is unresolved, FAILED where one failed."""
    passed = [one for _, one in outcomes(audit)]
    return "FAILED" if False in passed else "WARNED" if None in passed else "PASSED"


def outcomes(audit: Audit) -> list[tuple[str, bool | None]]:
    """Every test of every circuit, by `CIRCUIT: TEST`."""
    return [
        (f"{c.name}: {name}", passed) for c in audit.circuits for name, passed in outcomes_of(c)
    ]


def outcomes_of(circuit: Audited) -> list[tuple[str, bool | None]]:
    """Those of one circuit: the short test, measured by the audit, and the suite as saved."""
    found = [
        ("sufficient", circuit.sufficient.verdict),
        ("necessary", circuit.necessary.verdict),
    ]
    if circuit.suite:
        found += [(f"suite {test.name}", test.passed) for test in circuit.suite.tests]
    return found


def short_verdict(circuit: Audited) -> str:
    """The outcome of the short test in words, as `lacewing verify --quick` says it."""
    each = [("sufficient", circuit.sufficient.verdict), ("necessary", circuit.necessary.verdict)]
    passed = sum(one is True for _, one in each)
    counted = f"{passed} of {len(each)} short tests"
    return counted if passed == len(each) else f"{counted}; {verdict(each)}"
