"""The table of the faithfulness suite in a report."""

import math
import re
from typing import Any

from lacewing.report.page import suite
from lacewing.verification.finding import Finding, LeftOut, judge


def made(name: str, value: float, **more: Any) -> Finding:
    facts = {"at_most": True, "unit": "nats", "n": 64, "meaning": f"<{name}>"} | more
    return judge(name, value, 0.3, **facts)


def test_what_failed_comes_first() -> None:
    """Failed, unresolved, passed; numbers with interval, mark and control; text is escaped."""
    tests = [
        made("good", 0.1, low=0.05, high=0.15, control=0.7, control_name="random"),
        made("open", math.nan),
        made("bad", 0.5, low=0.4, high=0.6),
    ]
    page = suite(
        {
            "tests": [test.as_json() for test in tests],
            "left_out": [LeftOut("longer", "no room").as_json()],
            "verdict": "fails: bad",
        }
    )
    assert ["bad", "open", "good"] == re.findall(r"<tr><td><b>(\w+)</b>", page)
    assert "0.100 [0.050, 0.150] nats" in page
    assert "0.700 random" in page
    assert "not measured nats" in page
    assert "at most 0.3" in page
    assert "&lt;good&gt;" in page
    assert "left out: longer, no room" in page
    assert "<b>fails: bad</b>" in page


def test_without_a_suite_there_is_no_table() -> None:
    """The short test alone leaves the page as it was."""
    assert "" == suite({"sufficient": {}, "necessary": {}})
