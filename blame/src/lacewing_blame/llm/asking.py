"""The questions about one log: put, counted, and their oddities noted."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lacewing_blame.attribution import Attribution, Suspect
from lacewing_blame.events import Trace
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.prompts import Chat, Options


class Asking:
    """One log under one method.

    Attributes:
        calls: Questions so far, those answered from the cache included.
        tokens: Tokens of them and their answers, as the endpoint counts them.
        written: Those of the answers alone.
    """

    def __init__(self, trace: Trace, client: Client, options: Options) -> None:
        self.trace, self.client, self.options = trace, client, options
        self.calls = self.tokens = self.written = 0
        self._notes: list[str] = []

    def ask(self, chat: Chat) -> list[str]:
        """The answers to one question, as many as the options say, in order."""
        samples = range(self.options.samples)
        if len(samples) == 1:
            replies = [self.client.ask(chat)]
        else:
            with ThreadPoolExecutor(len(samples)) as pool:
                replies = list(pool.map(lambda sample: self.client.ask(chat, sample), samples))
        self.calls += len(replies)
        self.tokens += sum(reply.tokens for reply in replies)
        self.written += sum(reply.written for reply in replies)
        if any(reply.cut for reply in replies):
            self.note("an answer was cut off at the endpoint's or --max-tokens' limit")
        return [reply.text for reply in replies]

    def note(self, text: str) -> None:
        """Keep a remark, once."""
        if text not in self._notes:
            self._notes.append(text)

    def attribution(
        self,
        method: str,
        agent: str | None,
        step: int | None,
        ranking: Iterable[Suspect] = (),
        reason: str = "",
    ) -> Attribution:
        """The answer, with what it cost; a method without agent and step has not abstained."""
        return Attribution(
            trace=self.trace.id,
            method=method,
            agent=agent,
            step=step,
            abstained=False,
            ranking=tuple(ranking),
            reason=reason,
            calls=self.calls,
            tokens=self.tokens,
            written=self.written,
            notes=tuple(self._notes),
        )
