"""Figures for Prometheus, in a registry of their own: two servers in one process share nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

KIND = CONTENT_TYPE_LATEST
"""Of the page that is scraped."""
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """Everything that is counted.

    Example:
        >>> metrics = Metrics("builtin:taught-tiny", "7675", ["indent_for"])
        >>> metrics.answered("200", 0.5, 7, 16)
        >>> b'lacewing_completion_tokens_total 16.0' in metrics.page()
        True
    """

    def __init__(self, name: str, id: str, tasks: Sequence[str]) -> None:
        """Begin at nought.

        Args:
            name: What the model is called.
            id: Its id.
            tasks: Of the circuits; where two are the same, the later one gets a number.
        """
        self.registry = own = CollectorRegistry()
        self.tasks = told_apart(tasks)
        Info("lacewing_model", "The model that answers.", registry=own).info(
            {"name": name, "id": id}
        )
        self._requests = Counter(
            "lacewing_requests", "Requests for a completion, by status.", ["status"], registry=own
        )
        self._seconds = Histogram(
            "lacewing_request_seconds",
            "From a request to the end of its answer.",
            buckets=SECONDS,
            registry=own,
        )
        self._prompt = Counter(
            "lacewing_prompt_tokens", "Tokens of prompts that were answered.", registry=own
        )
        self._completion = Counter(
            "lacewing_completion_tokens", "Tokens that the model wrote.", registry=own
        )
        self._read = Gauge(
            "lacewing_watched_tokens", "Tokens in looks that were taken.", registry=own
        )
        self._looks = Counter("lacewing_looks", "Looks that were taken.", registry=own)
        self._evidence = Gauge(
            "lacewing_evidence_ratio", "Evidence over its threshold: 1 is an alarm.", registry=own
        )
        of = ["circuit", "signal"]
        self._score = Gauge(
            "lacewing_signal_score",
            "Mean score of a signal in the last look: 0 is usual, 1 was never seen.",
            of,
            registry=own,
        )
        self._level = Gauge(
            "lacewing_signal_level", "What that mean is at most, as promised.", of, registry=own
        )
        self._part = Gauge(
            "lacewing_signal_evidence_ratio", "The signal's part of the evidence.", of, registry=own
        )
        self._places = Gauge(
            "lacewing_places", "Places at which a task was decided.", ["circuit"], registry=own
        )
        self._agrees = Gauge(
            "lacewing_agreement_ratio",
            "Share of places at which the circuit alone gives the whole model's answer.",
            ["circuit"],
            registry=own,
        )
        self._carries = Gauge(
            "lacewing_carried_ratio",
            "Share of the logit difference that the circuit has alone.",
            ["circuit"],
            registry=own,
        )
        self._changed = Gauge(
            "lacewing_model_changed",
            "1 where the fixed prompts have other answers than in the reference.",
            registry=own,
        )
        self._alarms = Counter(
            "lacewing_alarms", "Alarms, by their cause.", ["cause"], registry=own
        )
        self._sent = Counter(
            "lacewing_alarms_sent",
            "Alarms handed on to a file or a webhook, by what came of it.",
            ["to", "outcome"],
            registry=own,
        )
        for cause in ("model", "text"):
            self._alarms.labels(cause)

    def answered(self, status: str, seconds: float, prompt: int, completion: int) -> None:
        """Count one request for a completion."""
        self._requests.labels(status).inc()
        self._seconds.observe(max(0.0, seconds))
        self._prompt.inc(prompt)
        self._completion.inc(completion)

    def refused(self, status: int) -> None:
        """Count a request that was not answered."""
        self._requests.labels(str(status)).inc()

    def looked(self, groups: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> None:
        """Show a look of `History`."""
        self._looks.inc()
        self._read.set(row["tokens"])
        self._evidence.set(row["evidence"])
        for group, score, part in zip(groups, row["scores"], row["evidences"], strict=True):
            circuit = "" if group["circuit"] is None else self.tasks[group["circuit"]]
            if score is not None:
                self._score.labels(circuit, group["kind"]).set(score)
            self._level.labels(circuit, group["kind"]).set(group["level"])
            self._part.labels(circuit, group["kind"]).set(part)

    def stands(self, summary: Mapping[str, Any]) -> None:
        """Show a monitor's summary."""
        self._changed.set(float(summary["changed"]))
        for task, row in zip(self.tasks, summary["circuits"], strict=True):
            self._places.labels(task).set(row["places"])
            for gauge, value in ((self._agrees, row["agrees"]), (self._carries, row["carries"])):
                if value is not None:
                    gauge.labels(task).set(value)

    def alarmed(self, cause: str) -> None:
        """Count an alarm."""
        self._alarms.labels(cause).inc()

    def sent(self, to: str, outcome: str) -> None:
        """Count what came of handing an alarm on."""
        self._sent.labels(to, outcome).inc()

    def page(self) -> bytes:
        """The page that is scraped."""
        return generate_latest(self.registry)


def told_apart(tasks: Sequence[str]) -> list[str]:
    """Names that are all different.

    >>> told_apart(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    found: list[str] = []
    for number, task in enumerate(tasks):
        count = list(tasks[: number + 1]).count(task)
        found.append(task if count == 1 else f"{task} ({count})")
    return found
