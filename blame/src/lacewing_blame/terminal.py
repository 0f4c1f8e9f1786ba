"""Results of `lacewing blame` as text for a terminal."""

from collections.abc import Mapping
from textwrap import shorten, wrap
from typing import Any

WIDTH = 100
"""Columns a line may take."""
EVIDENCE = 3
"""Pieces of evidence shown per suspect."""


def log(result: Mapping[str, Any], top: int) -> str:
    """The answer for one log and its first suspects, the evidence quoted.

    >>> empty = {'trace': 'a', 'steps': 2, 'format': 'jsonl', 'method': 'ranker', 'notes': []}
    >>> answer = {'agent': 'Ann', 'step': 0, 'abstained': False, 'ranking': [], 'reason': ''}
    >>> print(log({**empty, **answer, 'calls': 0}, top=5))
    a: 2 steps, jsonl
    suspected: Ann at step 0, read off the log alone (ranker)
    """
    head = f"{plain(result['trace'])}: {result['steps']} steps, {result['format']}"
    lines = [head, _verdict(result)]
    if result["reason"] and result["calls"]:  # the ranker's reasons are its evidence, shown below
        lines += wrap(plain(result["reason"]), WIDTH, initial_indent="  ", subsequent_indent="  ")
    ranking = result["ranking"][:top]
    if ranking:
        wide = max(5, *(len(plain(s["agent"])) for s in ranking))
        lines += ["", f"  {'step':>5}  {'agent':<{wide}}  {'':>5}  evidence"]
        lines += [line for suspect in ranking for line in _suspect(suspect, wide)]
    return "\n".join([*lines, *_rest(result)])


def alarm(result: Mapping[str, Any]) -> str:
    """What following a run found.

    >>> print(alarm({'trace': 'a', 'steps': 4, 'alarm': None, 'rate': 'about 10 %'}))
    a: 4 steps, no alarm
    false alarms: about 10 %
    """
    found = result["alarm"]
    rate = f"false alarms: {result['rate']}"
    if found is None:
        return f"{plain(result['trace'])}: {result['steps']} steps, no alarm\n{rate}"
    lines = [
        f"ALARM: {plain(found['agent'])} at step {found['step']}, {found['deviations']:.1f} "
        f"deviations above the steps before it; {result['steps']} steps read"
    ]
    lines += [f"  {_piece(one, WIDTH)}" for one in found["evidence"] if one["weight"] > 0]
    return "\n".join([*lines, rate])


def _rest(result: Mapping[str, Any]) -> list[str]:
    """What comes last: remarks, cost, the page."""
    lines = [f"note: {plain(note)}" for note in result["notes"]]
    if result["calls"]:
        lines.append(_cost(result))
    if "page" in result:
        lines.append(f"page: {result['page']}")
    return lines


def score(result: Mapping[str, Any]) -> str:
    """What a method gets right over a folder, with intervals, and the baselines below it.

    >>> share = {'accuracy': 0.5, 'interval': [0.1, 0.9]}
    >>> result = {'method': 'ranker', 'n': 2, 'step': share, 'baselines': {}, 'notes': {}}
    >>> print(score(result))
    ranker on 2 labelled logs, exact matching
      step  50.0 % [10.0, 90.0]
    """
    folds = f", {result['folds']} folds without a question in common" if "folds" in result else ""
    rows = [*_figures(result), *_baselines(result["baselines"])]
    wide = max(len(name) for name, _ in rows)
    lines = [f"{result['method']} on {result['n']} labelled logs, exact matching{folds}"]
    lines += [f"  {name:<{wide}}  {value}" for name, value in rows]
    if "official_substring" in result:
        loose = result["official_substring"]
        lines.append(
            f"  WARNING: the paper's script, which takes 12 for 2, would say: agent "
            f"{_accuracy(loose['agent'])}, step {_accuracy(loose['step'])}"
        )
    if "calls" in result:
        lines.append(_cost(result))
    if result.get("abstained"):
        lines.append(
            f"logs in which nobody is named: {result['abstained']}; --guess names somebody there"
        )
    if result["notes"]:
        lines.append(f"{len(result['notes'])} logs with notes; --json gives them")
    return "\n".join(lines)


def plain(text: str) -> str:
    r"""A log's text in one line, without signs that would steer a terminal.

    >>> plain('a\n  b\x1b')
    'a b'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _cost(result: Mapping[str, Any]) -> str:
    """What was asked, and what it cost where prices are given."""
    told = f"{result['calls']} questions, {result['tokens']:,} tokens"
    if result.get("written"):
        told += f", {result['written']:,} of them written"
    if "cost" in result:
        per = f", {result['cost'] / result['n']:.4f} per log" if result.get("n") else ""
        told += f"; cost {result['cost']:.4f}{per}"
    return told


def _verdict(result: Mapping[str, Any]) -> str:
    if result["abstained"]:
        why = plain(result["reason"]) or "the method does not know"
        return f"nobody named: {why}; these are the most suspicious steps, no more"
    if result["agent"] is None and result["step"] is None:
        return "no suspect: the method found none"
    where = f"at step {result['step']}" if result["step"] is not None else "at no step"
    owner = next((s["agent"] for s in result["ranking"] if s["step"] == result["step"]), None)
    if owner not in (None, result["agent"]):
        where += f" (by {plain(owner)})"
    agent = plain(result["agent"] or "an unnamed agent")
    return f"suspected: {agent} {where}, read off the log alone ({result['method']})"


def _suspect(suspect: Mapping[str, Any], wide: int) -> list[str]:
    """A suspect's lines: one per reason, the weightiest first."""
    once = {e["reason"]: e for e in sorted(suspect["evidence"], key=lambda e: e["weight"])}
    speaking = sorted(once.values(), key=lambda e: -e["weight"])[:EVIDENCE]
    share = f"{100 * suspect['probability']:.0f} %" if suspect["probability"] else ""
    first = f"  {suspect['step']:>5}  {plain(suspect['agent']):<{wide}}  {share:>5}  "
    pieces = [_piece(evidence, WIDTH - len(first)) for evidence in speaking] or [""]
    return [
        ((first if at == 0 else " " * len(first)) + piece).rstrip()
        for at, piece in enumerate(pieces)
    ]


def _piece(evidence: Mapping[str, Any], room: int) -> str:
    sign = "-" if evidence["weight"] < 0 else "+"
    quote = plain(evidence["text"])
    told = f"{sign} {plain(evidence['reason'])}" + (f': "{quote}"' if quote else "")
    return shorten(told, max(30, room), placeholder="...")


def _figures(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every figure of a score that has an accuracy or is a plain number."""
    found = []
    for name, value in result.items():
        if isinstance(value, Mapping) and "accuracy" in value:
            found.append((name.replace("_", " "), _accuracy(value)))
        elif isinstance(value, float):
            found.append((name.replace("_", " "), f"{value:.3f}"))
    return found


def _baselines(baselines: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"({name})", f"agent {_value(row['agent'])}, step {_value(row['step'])}")
        for name, row in baselines.items()
    ]


def _value(value: Any) -> str:
    return _accuracy(value) if isinstance(value, Mapping) else f"{100 * value:.1f} %"


def _accuracy(value: Mapping[str, Any]) -> str:
    text = f"{100 * value['accuracy']:.1f} %"
    interval = value.get("interval")
    return f"{text} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else text
