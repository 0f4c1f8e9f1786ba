"""Tune the pruning of one model for one task at one target loss, with a stated number of prunings.

Trial 0 is the configuration as it stands, or the best of a target tuned before; the rest come from
Optuna's TPE sampler, seeded. The smallest circuit wins: fewest paper edges, then fewest nodes.
Circuits are measured on prompts of their own; the target is met on validation prompts only. The
same settings at another target walk no second path (see `pruning.walks`).

    PLACE/            the best circuit so far
    PLACE.json        every trial, written after each, so that an interrupted tuning goes on
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.edges import count_all
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.pruning.walks import Walks

Settings = dict[str, Any]
"""Values of a pruning's settings by name."""

SPACE: dict[str, tuple[float, float]] = {
    "learning_rate": (0.01, 0.1),
    "penalty_from": (1e-6, 1e-4),
    "penalty_to": (2e-3, 1e-1),
    "init_bias": (0.02, 0.5),
    "temperature": (0.3, 3.0),
    "weight_decay": (1e-4, 1e-2),
}
"""Settings of the pruning that are searched, with their ranges, all on a logarithmic scale. Their
middles are near the paper's centres (Table 2); the paper's ranges are not published."""


@dataclass(frozen=True)
class Trial:
    """One pruning."""

    __pydantic_config__ = artifacts.EXACT

    settings: Settings
    """Values of what is searched."""
    edges: int | None
    """Paper edges; none where no circuit reached the target."""
    edges_all: int | None
    """Edges with embedding, unembedding and biases."""
    nodes: int | None
    losses: Mapping[str, float] | None
    """`full` and `circuit` on test prompts, and `validation`, in nats."""
    seconds: float | None
    error: str | None
    """Why there is no circuit."""

    @property
    def size(self) -> tuple[int, int] | None:
        """What trials are ranked by, smallest first."""
        return None if self.edges is None or self.nodes is None else (self.edges, self.nodes)


@dataclass(frozen=True)
class _Trials:
    """The file of a tuning."""

    __pydantic_config__ = artifacts.EXACT

    trials: tuple[Trial, ...]


def tune(
    walks: Walks,
    config: PruneConfig,
    trials: int,
    place: Path,
    first: Sequence[Settings] = (),
) -> list[Trial]:
    """Prune `trials` times; the same trials for the same arguments, interrupted or not.

    Args:
        walks: The model, the task, and the paths walked for its other targets.
        config: Target loss, seed, and everything that is not searched.
        trials: How many prunings: the whole budget.
        place: Where the best circuit is kept.
        first: Settings to try first; then those of `config`.

    Raises:
        ArtifactError: the trials there are of another tuning.
        ConfigError: more trials than given settings, and no Optuna.
    """
    file = place.with_name(place.name + ".json")
    done = _trials(file)
    if len(done) >= trials:
        return done
    artifacts.recover(place)
    asked = _Asked(config, trials, first)
    for number in range(trials):
        settings = asked.next()
        if number < len(done):
            if done[number].settings != settings:
                raise ArtifactError(
                    f"{file} holds trials with other settings, made by another version of "
                    "lacewing or of optuna: remove the file"
                )
        else:
            trial, circuit = _try(walks, dataclasses.replace(config, **settings))
            trial = dataclasses.replace(trial, settings=settings)
            if circuit is not None and smallest([*done, trial]) is trial:
                circuit.save(place, replace=place.exists())
            done.append(trial)
            artifacts.write_summed(file, {"trials": [dataclasses.asdict(t) for t in done]})
        asked.tell(done[number])
    return done


def smallest(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the smallest circuit, the first of several; None where none has a circuit."""
    found = [trial for trial in trials if trial.size is not None]
    return min(found, key=lambda trial: trial.size or (0, 0), default=None)


def _try(walks: Walks, config: PruneConfig) -> tuple[Trial, Circuit | None]:
    try:
        circuit = walks.circuit(config)
    except DataError as error:
        return Trial({}, None, None, None, None, None, str(error)), None
    network = walks.model.network
    trial = Trial(
        settings={},
        edges=circuit.n_edges,
        edges_all=count_all(network, circuit.nodes, circuit.edges, circuit.answers),
        nodes=circuit.n_nodes,
        losses=dict(circuit.losses),
        seconds=circuit.seconds,
        error=None,
    )
    return trial, circuit


class _Asked:
    """The settings to try, one after the other."""

    def __init__(self, config: PruneConfig, trials: int, first: Sequence[Settings]) -> None:
        plain = {name: float(getattr(config, name)) for name in SPACE}
        self.given = [*[dict(settings) for settings in first], plain][:trials]
        # A starting point outside of a range widens it.
        self.ranges = {
            name: (
                min([low, *(settings[name] for settings in self.given)]),
                max([high, *(settings[name] for settings in self.given)]),
            )
            for name, (low, high) in SPACE.items()
        }
        self.study: Any = None
        if trials > len(self.given):
            optuna = _optuna()
            sampler = optuna.samplers.TPESampler(
                seed=config.seed, n_startup_trials=max(2, min(10, trials // 3))
            )
            self.study = optuna.create_study(direction="minimize", sampler=sampler)
            for settings in self.given:
                self.study.enqueue_trial(settings)
        self.trial: Any = None

    def next(self) -> Settings:
        """The settings of the next trial."""
        if self.study is None:
            return self.given.pop(0)
        self.trial = self.study.ask()
        return {
            name: float(self.trial.suggest_float(name, low, high, log=True))
            for name, (low, high) in self.ranges.items()
        }

    def tell(self, result: Trial) -> None:
        """What came of them."""
        if self.study is None:
            return
        if result.edges is None:
            self.study.tell(self.trial, state=_optuna().trial.TrialState.FAIL)
        else:
            self.study.tell(self.trial, float(result.edges))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "tuning with more than a trial or two needs optuna: pip install 'lacewing[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _trials(file: Path) -> list[Trial]:
    """The trials that were made; none yet where there is no file. Old ones have no sum."""
    if not file.exists():
        return []
    found = artifacts.read_json(file)
    plain = {"trials": found} if isinstance(found, list) else artifacts.read_summed(file)
    try:
        return list(artifacts.typed(plain, _Trials, file).trials)
    except ArtifactError as error:
        raise ArtifactError(f"{file} holds no trials of a tuning ({error}): remove it") from error
