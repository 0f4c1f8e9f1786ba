"""The command `lacewing-blame`: one log, `score` of a folder, or `train` on one.

lacewing finds `Blame` through the entry point `blame` of the group `lacewing.verbs` and shows it as
its verb `blame`. What is asked of a model has flags of its own in `Questions`. Everything heavier
than the flags is imported by the call that needs it, so that --help stays quick.
"""

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from lacewing_blame.attribution import Attribution
from lacewing_blame.errors import BlameError, ConfigError
from lacewing_blame.events import Trace
from lacewing_blame.questions import Questions, Switch

Method = Literal[
    "ranker", "rerank", "all-at-once", "hierarchical", "step-by-step", "binary-search", "hybrid"
]
RANKED = ("ranker", "rerank")
"""Methods that use the ranker's weights and its threshold."""


@dataclass(frozen=True)
class Blame:
    """Suspect an agent and a step of a failed multi-agent run.

    LOG for one log, score DIR for all logs of a folder against their labels, train DIR --output
    FILE for weights of your own. Where no step is likely enough nobody is named without --guess,
    and the five most suspicious steps are shown as such. --follow LOG reads a run as it unfolds.
    """

    mistakes: ClassVar[tuple[type[Exception], ...]] = (BlameError,)
    """Errors that are a mistake of the user's; whoever runs the verb shows them as one line."""

    words: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="LOG | score DIR | train DIR"),
    ]
    """A log of any known format, or a folder of logs after `score` or `train`."""
    method: Method = "ranker"
    """How: the embedded ranker without any model, its first ten put in a model's order (rerank), or
    questions to a model; hierarchical is for logs longer than its context."""
    format: str | None = None
    """The log's format; by default it is recognised."""
    weights: Path | None = None
    """The ranker's weights; by default those that ship."""
    runs: Path | None = None
    """A folder of other runs of the same task, some of which succeeded: what only failed runs do
    is then suspected more; for the ranker."""
    guess: Switch = False
    """Name a step also where none is likely enough; for ranker and rerank."""
    abstain_below: float | None = None
    """Name nobody where the step's probability is below this; by default 0.3 on logs that are no
    conversation of the kinds in Who&When, for the ranker."""
    follow: Switch = False
    """Read LOG as it is written and raise an alarm at the first step that stands out, then end with
    exit code 0; with --runs, at the false-alarm rate that the successful runs in it have."""
    false_alarms: float | None = None
    """With --follow and --runs: the share of successful runs that may raise an alarm (0.1)."""
    patience: float | None = None
    """With --follow: seconds without a new step after which the run counts as over (60)."""
    page: Path | None = None
    """Also write the log as an offline HTML page, to this file."""
    output: Path | None = None
    """With train: the file of weights. With score: a file for every log's ranking, as JSON."""
    folds: int | None = None
    """With score: rank every log by weights learned from the logs of other questions, in this many
    folds. The shipped weights may have seen these logs; these have not."""
    official_substring: Switch = False
    """With score: add the figure of the paper's own script, which takes the step 12 for the label
    2. It counts wrong answers as right; use it to compare with published figures only."""
    top: int = 5
    """Suspects shown; --json gives all."""
    questions: tyro.conf.OmitArgPrefixes[Questions] = field(default_factory=Questions)
    json: Switch = False
    """Print one JSON object instead of text."""

    def run(self) -> dict[str, Any]:
        """Do what the words say."""
        words = self.words
        if len(words) == 2 and words[0] == "score":
            self._refuse(page=self.page, format=self.format, runs=self.runs, follow=self.follow)
            return self._score(_folder(words[1]))
        if len(words) == 2 and words[0] == "train":
            self._refuse(
                page=self.page,
                format=self.format,
                runs=self.runs,
                weights=self.weights,
                folds=self.folds,
                official_substring=self.official_substring,
                guess=self.guess,
                follow=self.follow,
            )
            return self._train(_folder(words[1]))
        if len(words) != 1:
            raise ConfigError(
                f"blame takes LOG, or score DIR, or train DIR; got {' '.join(words) or 'nothing'}"
            )
        self._refuse(
            output=self.output, folds=self.folds, official_substring=self.official_substring
        )
        return self._log(Path(words[0]))

    def show(self, result: dict[str, Any]) -> str:
        """The result for people; nothing where JSON was asked for."""
        if self.json:
            return ""
        from lacewing_blame import terminal

        if "alarm" in result:
            return terminal.alarm(result)
        if "weights" in result:
            return f"{result['weights']}: weights learned from {result['n']} logs"
        return terminal.score(result) if "n" in result else terminal.log(result, self.top)

    def _log(self, path: Path) -> dict[str, Any]:
        from lacewing_blame.reading.read import read

        if path.is_dir():
            raise ConfigError(f"{path} is a folder: blame one log in it, or blame score {path}")
        if self.follow:
            return self._follow(path)
        self._refuse(false_alarms=self.false_alarms, patience=self.patience)
        trace = read(path, self.format)
        attribution = self._attribute([trace])[0] if self.runs is None else self._beside(trace)
        result = _as_json(trace, attribution)
        cost = self.questions.cost(attribution.tokens, attribution.written)
        if attribution.calls and cost is not None:
            result["cost"] = cost
        if self.page is not None:
            from lacewing_blame.pages.page import page

            result["page"] = str(page(trace, attribution, self.page))
        return result

    def _follow(self, path: Path) -> dict[str, Any]:
        """The first alarm of a run that unfolds."""
        from lacewing_blame.following import Rule, follow
        from lacewing_blame.ranker.weights import Ranker
        from lacewing_blame.reading.read import read_folder

        self._refuse(
            page=self.page,
            guess=self.guess,
            abstain_below=self.abstain_below,
            method=None if self.method == "ranker" else self.method,
        )
        ranker = Ranker.load(self.weights) if self.weights is not None else None
        rate = 0.1 if self.false_alarms is None else self.false_alarms
        if self.runs is None and self.false_alarms is not None:
            raise ConfigError("--false-alarms needs successful runs to hold it to: add --runs DIR")
        if not 0 < rate < 1:
            raise ConfigError(f"--false-alarms must lie between 0 and 1, got {rate}")
        runs = read_folder(_folder(str(self.runs))) if self.runs is not None else None
        rule = Rule.shipped() if runs is None else Rule.learned(runs, rate, ranker)
        patience = 60.0 if self.patience is None else self.patience
        return follow(path, rule, ranker, self.format, patience)

    def _beside(self, trace: Trace) -> Attribution:
        """The ranker's answer together with what other runs of the task show."""
        from lacewing_blame.ranker.spectrum import rank_with_spectrum
        from lacewing_blame.ranker.weights import Ranker
        from lacewing_blame.reading.read import read_folder

        if self.method != "ranker" or self.abstain_below is not None:
            raise ConfigError("--runs goes with --method ranker, without --abstain-below")
        assert self.runs is not None
        failed = replace(trace, succeeded=False)  # why else would it be blamed
        others = [run for run in read_folder(_folder(str(self.runs))) if run.id != trace.id]
        ranker = Ranker.load(self.weights) if self.weights is not None else None
        found = rank_with_spectrum([failed, *others], ranker, guess=self.guess)
        return next(one for one in found if one.trace == trace.id)

    def _score(self, folder: Path) -> dict[str, Any]:
        from lacewing_blame.files import write_json
        from lacewing_blame.reading.read import read_folder
        from lacewing_blame.scoring import score

        traces = read_folder(folder)
        attributions = self._attribute(traces) if self.folds is None else self._validated(traces)
        if self.output is not None:
            pairs = zip(traces, attributions, strict=True)
            write_json(self.output, [_as_json(trace, found) for trace, found in pairs])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the flag's own help has said it
            result = score(
                traces, attributions, self.official_substring, dict(self.questions.aliases())
            )
        if self.method != "ranker":
            result["calls"] = sum(found.calls for found in attributions)
            result["tokens"] = sum(found.tokens for found in attributions)
            written = sum(found.written for found in attributions)
            cost = self.questions.cost(result["tokens"], written)
            result |= {"written": written} | ({} if cost is None else {"cost": cost})
        notes = {found.trace: list(found.notes) for found in attributions if found.notes}
        folds = {"folds": self.folds} if self.folds is not None else {}
        silent = sum(found.abstained for found in attributions)
        return {"method": self.method, **folds, **result, "abstained": silent, "notes": notes}

    def _train(self, folder: Path) -> dict[str, Any]:
        if self.output is None:
            raise ConfigError("blame train needs a place for the weights: add --output FILE")
        from lacewing_blame.ranker.train import train_ranker
        from lacewing_blame.ranker.weights import Ranker
        from lacewing_blame.reading.read import read_folder

        traces = read_folder(folder)
        train_ranker(traces, base=Ranker.shipped()).save(self.output)
        return {"weights": str(self.output), "n": sum(t.label is not None for t in traces)}

    def _attribute(self, traces: list[Trace]) -> list[Attribution]:
        """The method's answer for every log, in order."""
        if self.method not in RANKED and self.abstain_below is not None:
            raise ConfigError(f"--abstain-below goes with {' and '.join(RANKED)}, not others")
        if self.method not in RANKED and self.guess:
            raise ConfigError(f"--guess goes with {' and '.join(RANKED)}: leave it out")
        if self.method == "ranker":
            if self.questions.endpoint is not None:
                raise ConfigError(
                    "--endpoint does nothing with --method ranker: choose another method"
                )
            return self._ranked(traces)
        from lacewing_blame.llm.client import Client
        from lacewing_blame.llm.many import attribute_all

        settings = self.questions.settings(self.method)
        priors = self._ranked(traces) if self.method == "rerank" else None
        with Client(settings) as client:
            return attribute_all(traces, self.method, client, self.questions.options(), priors)

    def _validated(self, traces: list[Trace]) -> list[Attribution]:
        """The ranker's answer for every log, from weights that saw no log of its question."""
        from lacewing_blame.ranker.crossval import cross_validate

        if self.method != "ranker" or self.weights is not None or self.abstain_below is not None:
            raise ConfigError(
                "--folds learns weights of its own: it goes with --method ranker, without "
                "--weights and --abstain-below"
            )
        if self.folds is None or self.folds < 2:
            raise ConfigError(f"--folds must be at least 2, got {self.folds}")
        return cross_validate(traces, self.folds, self.questions.seed)

    def _ranked(self, traces: list[Trace]) -> list[Attribution]:
        from lacewing_blame.ranker.ranking import rank
        from lacewing_blame.ranker.weights import Ranker

        ranker: Ranker | None = Ranker.load(self.weights) if self.weights is not None else None
        return [rank(trace, ranker, self.abstain_below, self.guess) for trace in traces]

    def _refuse(self, **flags: object) -> None:
        """Flags that have no meaning with these words."""
        set_ = (name for name, value in flags.items() if value is not None and value is not False)
        given = [f"--{name.replace('_', '-')}" for name in set_]
        if given:
            what = self.words[0] if len(self.words) == 2 else "one log"
            raise ConfigError(f"{', '.join(given)} does not go with blame of {what}: leave it out")


def _folder(word: str) -> Path:
    path = Path(word)
    if not path.is_dir():
        raise ConfigError(f"{path} is no folder of logs")
    return path


def _as_json(trace: Trace, attribution: Attribution) -> dict[str, Any]:
    """An attribution as plain values, each piece of evidence with the words it stands on."""
    texts = {event.index: event.text for event in trace.events}
    result = attribution.as_json()
    for suspect in result["ranking"]:
        for evidence in suspect["evidence"]:
            evidence["text"] = texts[evidence["step"]][evidence["start"] : evidence["end"]]
    return {**result, "format": trace.format, "steps": len(trace.events)}
