"""Tasks whose prompts are written by templates: sentences with words put in, no text is read.

A pair belongs to train, validation or test by the hash of its prompts, so that none is in two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from lacewing.data.corpus import Corpus
from lacewing.errors import DataError
from lacewing.tasks.pair import Draft
from lacewing.tasks.task import Candidate, Task, seeded
from lacewing.tasks.text import Part, check_part, divide

DRAWS = 40_000
"""Pairs drawn at most in the search for new ones."""
Writer = Callable[[Random], Draft]
"""One pair with words by chance, and its answers."""


@dataclass(frozen=True, kw_only=True)
class TemplateTask(Task):
    """A task of templates."""

    write: Writer
    """Writes one pair."""

    def draw(self, corpus: Corpus | None, split: Part, seed: int) -> Iterator[Candidate]:
        """Different pairs of one part in seeded order; the corpus is not looked at."""
        check_part(split)
        random, seen = seeded(seed, self.name, split), set[str]()
        for number in range(DRAWS):
            draft = self.write(random)
            key = f"{draft.clean}\n{draft.corrupted}"
            if key not in seen and divide([key])[key] == split:
                seen.add(key)
                yield Candidate(draft, None, f"template {self.name}:{number}")


def template(answers: tuple[tuple[str, str], ...] = ()) -> Callable[[Writer], TemplateTask]:
    """Make a task of a function that writes one pair; without answers each pair brings its own."""

    def decorate(write: Writer) -> TemplateTask:
        name = str(getattr(write, "__name__", "task"))
        return TemplateTask(
            name=name,
            generate=lambda file, random: (),
            answers=answers,
            origin="template",
            description=(write.__doc__ or "").partition("\n")[0],
            write=write,
        )

    return decorate


def rewritten(task: Task, change: Callable[[Draft], Draft | None]) -> TemplateTask:
    """A task of templates with every pair changed, those left out that a change has nothing for.

    Raises:
        DataError: the task is not made of templates.
    """
    if not isinstance(task, TemplateTask):
        raise DataError(f"{task.name} is not made of templates, so its prompts are not rewritten")
    first = task.write

    def write(random: Random) -> Draft:
        while (changed := change(first(random))) is None:
            pass
        return changed

    return TemplateTask(
        name=task.name,
        generate=task.generate,
        answers=task.answers,
        origin=task.origin,
        description=task.description,
        write=write,
    )
