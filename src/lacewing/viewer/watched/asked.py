"""What a request for a completion may say: OpenAI's legacy format, checked by pydantic.

What this server cannot do is refused by name, where a silent answer would be another than asked
for. Numbers that change nothing there (`best_of` 1, penalties of 0) are taken.
"""

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lacewing.model.store import Model
from lacewing.watch.serving.writing import Wish

TOKENS, CHOICES, PROMPTS = 2048, 8, 16
"""Tokens of one prompt and of one completion, completions of a prompt, and prompts; at most."""
ALL = 4096
"""New tokens of one request, at most."""
LONGEST = 200_000
Stop = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[int, Field(ge=0, lt=2**31)]
Ids = Annotated[list[Id], Field(max_length=TOKENS)]
Text = Annotated[str, Field(max_length=LONGEST)]


class RefusalError(Exception):
    """A request that cannot be answered, in OpenAI's words."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


class Streamed(BaseModel):
    """What else a stream is to have."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False


class Asked(BaseModel):
    """A request for completions."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: Annotated[str, Field(max_length=500)]
    prompt: Text | list[Text] | Ids | list[Ids] = ""
    max_tokens: Annotated[int, Field(ge=0, le=TOKENS)] | None = 16
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    n: Annotated[int, Field(ge=1, le=CHOICES)] | None = 1
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = False
    stream: bool | None = False
    stream_options: Streamed | None = None
    user: str | None = None
    best_of: Literal[1] | None = None
    suffix: None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    def prompts(self, model: Model) -> list[list[int]]:
        """The tokens of every prompt.

        Raises:
            RefusalError: there are too many, or ids that are no tokens of the model.
        """
        given: list[Any] = self.prompt if isinstance(self.prompt, list) else [self.prompt]
        if not given or isinstance(given[0], int):
            given = [given]
        if len(given) > PROMPTS:
            raise RefusalError(
                f"at most {PROMPTS} prompts in one request, not {len(given)}", "prompt"
            )
        found, count = [], model.network.config.vocab_size
        for one in given:
            ids = model.tokenizer.encode(one) if isinstance(one, str) else list(one)
            if len(ids) > TOKENS:
                raise RefusalError(
                    f"a prompt has at most {TOKENS} tokens, and this one has {len(ids)}",
                    "prompt",
                    "context_length_exceeded",
                )
            if wrong := [id for id in ids if id >= count]:
                raise RefusalError(f"{wrong[0]} is no token: the model has {count}", "prompt")
            found.append(ids)
        self._check(found, model)
        return found

    def _check(self, prompts: list[list[int]], model: Model) -> None:
        """Refuse what would take too long, or cannot be told."""
        whole = len(prompts) * self.count * self.tokens
        if whole > ALL:
            raise RefusalError(
                f"prompts times n times max_tokens is {whole:,} tokens, and at most {ALL:,} are "
                "written for one request",
                "max_tokens",
            )
        context = model.network.config.context
        if self.echo and self.logprobs is not None and max(map(len, prompts)) > context:
            raise RefusalError(
                f"logprobs of an echoed prompt are told up to the model's context of {context} "
                "tokens",
                "logprobs",
            )
        if self.stream_options is not None and not self.stream:
            raise RefusalError("stream_options is for stream: true", "stream_options")

    @property
    def tokens(self) -> int:
        """New tokens of one completion, at most."""
        return 16 if self.max_tokens is None else self.max_tokens

    @property
    def count(self) -> int:
        """Completions of each prompt."""
        return self.n or 1

    def wishes(self) -> list[Wish]:
        """How each completion of a prompt is to go on; each with a seed of its own."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        seed = secrets.randbits(62) if self.seed is None else self.seed % 2**63
        return [
            Wish(
                tokens=self.tokens,
                temperature=1.0 if self.temperature is None else self.temperature,
                top_p=self.top_p or 1.0,
                seed=(seed + number) % 2**63,
                stop=tuple(stop),
                likeliest=self.logprobs,
            )
            for number in range(self.count)
        ]
