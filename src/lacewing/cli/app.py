"""The verbs: `lacewing train | tasks | prune | verify | compare | report | view | ...`.

Each verb is a frozen dataclass whose fields are its flags and whose docstrings are its help; `run`
does the work and returns what `--json` prints. Progress goes to standard error, results to standard
output. torch is imported only by a verb that runs.

Exit status: 0; 1 for standard output that cannot be written, or a fault of lacewing's own; 2 for a
mistake of the user's; 3 where `watch` finds that a mechanism has not survived or that the model has
changed, or `audit --check` that something differs; 130 for an interruption. Each but 3 is one line
on standard error. Of a fault of its own, the traceback is kept in a file that the line names;
`lacewing --debug VERB` shows it.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from lacewing import __version__
from lacewing.cli import plugins
from lacewing.cli.attack import Attack
from lacewing.cli.audit import Audit
from lacewing.cli.bridge import Bridge
from lacewing.cli.compare import Compare
from lacewing.cli.corpus import BuildCorpus
from lacewing.cli.demo import Demo
from lacewing.cli.emerge import Emerge
from lacewing.cli.explain import Explain
from lacewing.cli.exporting import Export
from lacewing.cli.importing import Import
from lacewing.cli.machine import settle
from lacewing.cli.models import Models
from lacewing.cli.parsing import parsed
from lacewing.cli.program import Program
from lacewing.cli.prune import Prune
from lacewing.cli.repair import Repair
from lacewing.cli.report import Report
from lacewing.cli.sae import Sae
from lacewing.cli.steer import Steer
from lacewing.cli.streams import OutputError, complain, prepare, redacted, tell
from lacewing.cli.sweep import Sweep
from lacewing.cli.tasks import Tasks
from lacewing.cli.trace import Trace
from lacewing.cli.train import Train
from lacewing.cli.verify import Verify
from lacewing.cli.view import View
from lacewing.cli.watch import Watch
from lacewing.errors import LacewingError

VERBS: dict[str, Any] = {
    "corpus": BuildCorpus,
    "train": Train,
    "models": Models,
    "tasks": Tasks,
    "prune": Prune,
    "verify": Verify,
    "explain": Explain,
    "trace": Trace,
    "repair": Repair,
    "program": Program,
    "attack": Attack,
    "compare": Compare,
    "sweep": Sweep,
    "emerge": Emerge,
    "watch": Watch,
    "audit": Audit,
    "report": Report,
    "sae": Sae,
    "bridge": Bridge,
    "steer": Steer,
    "import": Import,
    "export": Export,
    "demo": Demo,
    "view": View,
}
GOES_ON = (
    "corpus",
    "train",
    "prune",
    "sae",
    "bridge",
    "verify",
    "compare",
    "sweep",
    "emerge",
    "demo",
)
"""Verbs whose work is kept as it goes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; ends with SystemExit where the exit status is not 0."""
    prepare()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    mistakes: list[type[BaseException]] = [LacewingError]
    try:
        _run(words, mistakes)
    except OutputError as error:
        _end(str(error), 1, error)
    except tuple(mistakes) as error:
        _end(str(error), 2, error)
    except OSError as error:
        _end(_of_system(error), 2, error)
    except KeyboardInterrupt as stop:
        goes_on = words[:1] and words[0] in GOES_ON
        rest = "; the same command goes on from here" if goes_on else ""
        _end(f"interrupted{rest}", 130, stop)
    except MemoryError as error:
        _end("not enough memory: take a smaller model, batch or corpus", 1, error)
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # panics of Rust libraries are no Exception
        if debug:
            raise
        _end(_internal(error, words), 1, error)


def _run(words: list[str], mistakes: list[type[BaseException]]) -> None:
    """Run the verb and show its result; `mistakes` grows by those of other packages' verbs."""
    if words == ["--version"]:
        tell(f"lacewing {__version__}")
        return
    settle()
    others = plugins.verbs(VERBS)
    mistakes += [error for verb in others.values() for error in verb.mistakes]
    plugins.refuse_missing(words, others)
    verb = parsed(words, VERBS | others)
    result = verb.run()
    if shown := verb.show(result):
        tell(shown)
    if verb.json:
        tell(json.dumps(result))
    if hasattr(verb, "status") and (status := verb.status(result)):
        raise SystemExit(status)


def _end(line: str, status: int, cause: BaseException) -> None:
    complain(f"lacewing: {line}")
    raise SystemExit(status) from cause


def _of_system(error: OSError) -> str:
    """What the system refused, and of which file."""
    name = f"{str(error.filename)[:200]}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


def _internal(error: BaseException, words: Sequence[str]) -> str:
    """A line for what should not happen; its traceback goes to a file."""
    import tempfile
    import traceback

    told = "".join(traceback.format_exception(error))
    content = f"lacewing {__version__} {words}\nPython {sys.version}\n\n{told}"
    try:
        handle, name = tempfile.mkstemp(prefix="lacewing-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(redacted(content))
        where = f"please report it with {name}"
    except OSError:
        where = "please report it with what --debug shows"
    return f"internal error ({type(error).__name__}: {str(error)[:300]}): {where}"
