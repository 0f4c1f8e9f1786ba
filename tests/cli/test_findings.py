"""The table of findings, on wide and narrow terminals."""

import math
import re

import pytest

from lacewing.cli.findings import Findings
from lacewing.cli.streams import drawn
from lacewing.verification.finding import Finding, LeftOut, judge

LONG = "the circuit alone, everything outside it at its mean, keeps the loss of the full model"


def findings() -> list[Finding]:
    return [
        judge(
            "sufficient.mean",
            0.1144,
            0.15,
            at_most=True,
            unit="nats",
            n=256,
            low=0.101,
            high=0.1298,
            control=0.7718,
            control_name="best of 8 random circuits",
            meaning=LONG,
        ),
        judge("interchange", 0.5, 0.9, at_most=False, unit="share", n=512, meaning="flips"),
        judge(
            "control.nonsense", math.inf, 5.0, at_most=False, unit="ratio", n=128, meaning="none"
        ),
        judge("agree.files", math.nan, 0.9, at_most=False, unit="share", n=0, meaning="no files"),
    ]


def test_every_finding_has_its_numbers_and_its_verdict() -> None:
    """Verdict, name, value with interval and unit, mark, sample, control and meaning."""
    text = drawn(Findings(findings(), [LeftOut("agree.longer", "the context is full")]), 100)
    lines = text.splitlines()
    assert lines[0].split() == [
        *("pass", "sufficient.mean", "0.114", "[0.101,", "0.130]", "nats"),
        *("at", "most", "0.15", "n", "256"),
    ]
    assert f"{'':12}{LONG}" == lines[1]
    assert "            control 0.772: best of 8 random circuits" == lines[2]
    assert "FAIL        interchange" in text
    assert "infinite ratio" in text
    assert "unresolved  agree.files" in text
    assert "left out    agree.longer: the context is full" in lines
    assert "verdict     fails: interchange" in lines
    assert "            4 tests: 2 passed, 1 failed, 1 unresolved" == lines[-1]


@pytest.mark.parametrize("width", [48, 60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Long lines are broken under each other; no number is lost."""
    text = drawn(Findings(findings(), [LeftOut("agree.longer", LONG)]), width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("[0.101, 0.130]", "0.772", "infinite", "interchange", "512"):
        assert word in text


def test_colour_adds_codes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal verdicts are coloured, but for NO_COLOR; without its codes it is the same."""
    plain = drawn(Findings(findings()), 80)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = drawn(Findings(findings()), 80)
    for code in ("32", "1;31", "33"):
        assert f"\033[{code}m" in coloured
    assert plain == re.sub(r"\033\[[0-9;]*m", "", coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\033\[[0-9;]*3[0-9]m", drawn(Findings(findings()), 80))


def test_nothing_to_show() -> None:
    """No findings: only the verdict and a count of zero."""
    assert "0 tests" in drawn(Findings([]), 80)
