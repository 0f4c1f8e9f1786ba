"""What is asked of a model: the flags, and the settings that they describe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lacewing_blame.errors import ConfigError
from lacewing_blame.llm.cache import default_folder
from lacewing_blame.llm.endpoint import Endpoint
from lacewing_blame.llm.prompts import Options

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is given or not."""


@dataclass(frozen=True)
class Questions:
    """What is asked of a model, for every method but ranker."""

    endpoint: str | None = None
    """Base URL of an OpenAI-compatible endpoint, such as http://localhost:8000/v1; the log is sent
    there."""
    model: str | None = None
    """The model's name there."""
    key_variable: str = "LACEWING_API_KEY"
    """Environment variable that holds the key, where one is needed."""
    with_answer: Switch = False
    """Show the model the right answer, where the log has it."""
    step_numbers: Switch = False
    """Number the steps in the log shown to the model."""
    guideline: Switch = False
    """Tell the model by which rules people annotate such logs."""
    alias: tuple[str, ...] = ()
    """Roles that labels or answers name instead of agents, as AGENT=ROLE, also for score."""
    verify: Switch = False
    """Have the answer checked by a further question, which may name another suspected step."""
    window: int = 24_000
    """Characters of a log shown at a time by hierarchical."""
    price_read: float | None = None
    """Price of a million tokens read, to tell what an answer cost."""
    price_written: float | None = None
    """Price of a million tokens written."""
    samples: int = 1
    """Answers drawn per question, by majority; more than one needs a temperature above 0."""
    temperature: float | None = 0.0
    """Sampling temperature; None leaves it to the endpoint."""
    max_tokens: int | None = None
    """Longest answer in tokens; None leaves it to the endpoint."""
    concurrency: int = 4
    """Requests under way at a time."""
    timeout: float = 120.0
    """Seconds after which a request is given up, even if something still trickles in."""
    retries: int = 5
    """Further attempts after a failure that may pass."""
    cache: Path | None = None
    """Folder of answers already given, from which an interrupted run goes on; by default
    lacewing/answers in the user's cache folder."""
    no_cache: Switch = False
    """Ask everything anew and keep no answers."""
    seed: int = 0
    """Seeds the coin that binary-search throws at an unclear answer, and deals --folds."""

    def options(self) -> Options:
        """What the questions contain."""
        if self.window < 1000:
            raise ConfigError(f"--window must be at least 1000 characters, got {self.window}")
        return Options(
            with_answer=self.with_answer,
            step_numbers=self.step_numbers,
            guideline=self.guideline,
            samples=self.samples,
            seed=self.seed,
            aliases=self.aliases(),
            verify=self.verify,
            window=self.window,
        )

    def aliases(self) -> tuple[tuple[str, str], ...]:
        """Agents with the roles they play.

        Raises:
            ConfigError: one is not written as AGENT=ROLE.
        """
        pairs = [word.partition("=") for word in self.alias]
        wrong = next(
            (
                word
                for word, (a, _, b) in zip(self.alias, pairs, strict=True)
                if not a.strip() or not b.strip()
            ),
            None,
        )
        if wrong is not None:
            raise ConfigError(f"--alias takes AGENT=ROLE, got {wrong!r}")
        return tuple((agent.strip(), role.strip()) for agent, _, role in pairs)

    def cost(self, tokens: int, written: int) -> float | None:
        """What so many tokens cost; none where no price is known.

        Args:
            tokens: Of questions and answers.
            written: Those of the answers.
        """
        if self.price_read is None and self.price_written is None:
            return None
        read = (tokens - written) * (self.price_read or 0.0)
        return (read + written * (self.price_written or 0.0)) / 1e6

    def settings(self, method: str) -> Endpoint:
        """The endpoint that the flags describe.

        Raises:
            ConfigError: no endpoint or no model is named, or they cannot be.
        """
        if self.endpoint is None or self.model is None:
            raise ConfigError(
                f"--method {method} asks a model: add --endpoint URL, such as "
                "http://localhost:8000/v1, and --model NAME"
            )
        return Endpoint(
            url=self.endpoint,
            model=self.model,
            key_variable=self.key_variable,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            timeout=self.timeout,
            retries=self.retries,
            concurrency=self.concurrency,
            cache=None if self.no_cache else self.cache or default_folder(),
        )
