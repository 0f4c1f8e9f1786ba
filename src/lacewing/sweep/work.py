"""One job in a process of its own: its threads, its lock, its failure, and what is said of it."""

import dataclasses
import os
import socket
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import LacewingError
from lacewing.kernels.memory import keep_pages
from lacewing.sweep.config import SweepConfig
from lacewing.sweep.points import MODEL, RESULT, TASK, Point, model_folder, task_folder

FAILED = "failed.json"
PATIENCE = 60.0
"""Seconds a job waits for the last process of a killed sweep to be gone."""


@dataclass(frozen=True)
class Job:
    """A model to train, or a model and a task to prune."""

    point: Point
    task: str | None
    """A task's name or file; none for the training."""

    @property
    def model(self) -> "Job":
        """The job that trains this one's model."""
        return dataclasses.replace(self, task=None)

    @property
    def task_name(self) -> str | None:
        """The task's name, also where it is a file."""
        from lacewing.tasks.registry import get  # which loads torch

        return None if self.task is None else get(self.task).name

    def folder(self, output: Path) -> Path:
        """Where its result is."""
        if (name := self.task_name) is None:
            return model_folder(output, self.point)
        return task_folder(output, self.point, name)

    @property
    def label(self) -> str:
        """Its name for people."""
        end = f", seed {self.point.seed}" + (f", {self.task_name}" if self.task else "")
        return self.point.label + end


@dataclass(frozen=True)
class _Failed:
    """failed.json."""

    __pydantic_config__ = artifacts.LOOSE

    error: str


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    job: Job
    line: str
    """For people."""
    failed: bool = False


def finished(job: Job, output: Path) -> bool:
    """Whether a job's folder is whole."""
    return (job.folder(output) / artifacts.MANIFEST).exists()


def failure(job: Job, output: Path) -> str | None:
    """Why a job failed when it was last tried, if it did."""
    path = job.folder(output) / FAILED
    if finished(job, output) or not path.exists():
        return None
    return artifacts.read(path, _Failed).error


def told(job: Job, output: Path, main_target: float) -> Outcome | None:
    """What came of a job, from its folder; None while it is not done."""
    if error := failure(job, output):
        return Outcome(job, f"{job.label}: FAILED: {error}", failed=True)
    if not finished(job, output):
        return None
    whole = artifacts.open_folder(job.folder(output), MODEL if job.task is None else TASK)
    with artifacts.foreign(whole.folder / RESULT):
        result = whole.json(RESULT)
        line = _losses(result) if job.task is None else _sizes(result, main_target)
        return Outcome(job, f"{job.label}: {line}; {result['seconds']:.0f} s")


def forget(job: Job, output: Path) -> None:
    """Forget an earlier failure, before the job is tried again."""
    (job.folder(output) / FAILED).unlink(missing_ok=True)


def work(job: Job, output: Path, config: SweepConfig, threads: int, driver: int) -> Outcome:
    """Do one job; a failure is written down and returned, not raised.

    Args:
        job: The job.
        output: The sweep's folder.
        config: The sweep.
        threads: Threads it may use.
        driver: Process id of the sweep on this machine; when that ends, so does this process.
    """
    if os.getpid() != driver:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))  # read when numba is imported
        keep_pages()  # a process that does nothing else
    import torch

    _end_with(driver)
    torch.set_num_threads(threads)
    folder = job.folder(output)
    busy = f"{folder} is still being written by a process of a killed sweep: end that process"
    try:
        with artifacts.locked(folder, busy, PATIENCE):
            if not finished(job, output):  # it may have been, by the sweep that was killed
                _do(job, output, config, threads)
    except Exception as error:  # the rest of the sweep goes on, whatever it is
        kind = "" if isinstance(error, LacewingError) else f"{type(error).__name__}: "
        reason = kind + " ".join(str(error).split())
        facts = {"error": reason, "traceback": traceback.format_exc()}
        artifacts.write_json(folder / FAILED, facts)
    outcome = told(job, output, config.main_target)
    assert outcome is not None
    return outcome


def _do(job: Job, output: Path, config: SweepConfig, threads: int) -> None:
    from lacewing.sweep.jobs import model_job, task_job
    from lacewing.tasks.registry import get

    where = {"host": socket.gethostname(), "node": _node(), "threads": threads}
    if job.task is None:
        model_job(output, config, job.point, where)
    else:
        task_job(output, config, job.point, get(job.task), where)


def _losses(result: dict[str, Any]) -> str:
    """What came of a training job, in a line."""
    line = f"validation loss {result['sparse']['validation_loss']:.3f}"
    if result["dense"]:
        return line + f", twin {result['dense']['validation_loss']:.3f}"
    return line + (f", NO TWIN: {result['twin_error']}" if result["twin_error"] else "")


def _sizes(result: dict[str, Any], target: float) -> str:
    """What came of a pruning job, in a line."""
    if result["error"]:
        return str(result["error"])
    parts = []
    for side, score in result["sides"].items():
        row = [r for r in result["rows"] if (r["side"], r["target"]) == (side, target)]
        if not score["learned"]:
            parts.append(f"{side} not learned ({score['validation']:.3f} nats)")
        elif row[0]["edges"] is None:
            parts.append(f"{side} no circuit")
        else:
            parts.append(f"{side} {row[0]['edges']} edges")
    return ", ".join(parts)


def _node() -> str | None:
    """The Ray node this runs on, if it runs on one."""
    try:
        import ray
    except ImportError:
        return None
    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else None


def _end_with(driver: int) -> None:
    """End this process when the sweep that started it is gone, be it by kill -9."""
    if os.getppid() != driver or any(t.name == "driver" for t in threading.enumerate()):
        return  # the sweep itself, a cluster's worker, or watched already

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="driver", daemon=True).start()
