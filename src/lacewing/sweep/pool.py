"""Where jobs run: this process, joblib's processes, or a Ray cluster through joblib.

On one machine processes x threads = cores. On a cluster each job takes `threads` of its cores, and
the sweep's folder must be one that every node sees.
"""

import dataclasses
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing.errors import ConfigError, LacewingError
from lacewing.kernels.cores import cores
from lacewing.sweep.config import SweepConfig
from lacewing.sweep.work import Job, Outcome, forget, told, work

POLL = 1.0
"""Seconds between two looks at what a cluster has done."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """How many jobs run at once, and where.

    Nothing here changes what is trained, but the number of threads may change the last digits.

    Raises:
        ConfigError: a value out of its range.
    """

    processes: int = 0
    """Jobs at once; 0: as many as there are cores."""
    training_processes: int = 0
    """Models trained at once; 0: as many as other jobs."""
    threads: int = 0
    """Threads of a job; 0: cores / processes, and 1 on a cluster."""
    cluster: str | None = None
    """Address of a Ray cluster (host:port, or auto for the one on this machine)."""

    def __post_init__(self) -> None:
        for name in ("processes", "training_processes", "threads"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, not {getattr(self, name)}")

    def training(self) -> "Pool":
        """The pool that models are trained on."""
        return dataclasses.replace(self, processes=self.training_processes or self.processes)

    def width(self, jobs: int) -> int:
        """Jobs at once, of `jobs` in all."""
        if self.cluster is not None:
            self._connect()
            most = self.processes or max(1, _cluster_cores() // self.each(jobs))
        else:
            most = self.processes or max(1, cores() // max(1, self.threads))
        return max(1, min(most, jobs))

    def each(self, jobs: int) -> int:
        """Threads of one job, where there are `jobs` in all; the same when some are done."""
        if self.threads or self.cluster is not None:
            return max(1, self.threads)
        return max(1, cores() // max(1, min(self.processes or cores(), jobs)))

    def work(
        self, jobs: Sequence[Job], output: Path, config: SweepConfig, among: int
    ) -> Iterator[Outcome]:
        """Do jobs, and give what came of each as it ends.

        Args:
            jobs: What is left to do.
            output: The sweep's folder.
            config: The sweep.
            among: Jobs of the kind in all.

        Raises:
            ConfigError: joblib or Ray is not installed, or a process was killed from outside.
        """
        if not jobs:
            return
        for job in jobs:
            forget(job, output)
        delayed, threads = _joblib().delayed, self.each(among)
        calls = [
            delayed(work)(job, output.absolute(), config, threads, os.getpid()) for job in jobs
        ]
        backend = self._backend(self.width(among), threads)
        if self.cluster is None:
            yield from _here(calls, backend)
        else:
            yield from _there(calls, backend, jobs, output, config.main_target)

    def _backend(self, width: int, threads: int) -> dict[str, Any]:
        if self.cluster is None:
            if width == 1:
                return {"backend": "sequential", "n_jobs": 1}
            return {"backend": "loky", "n_jobs": width, "inner_max_num_threads": threads}
        return {
            "backend": "ray",
            "n_jobs": width,
            "ray_remote_args": {"num_cpus": threads, "scheduling_strategy": "SPREAD"},
        }

    def _connect(self) -> None:
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError as error:
            raise ConfigError(
                "a sweep on a cluster needs Ray: pip install 'lacewing[cluster]'"
            ) from error
        if not ray.is_initialized():
            try:
                ray.init(address=self.cluster, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ConfigError(
                    f"no Ray cluster answers at {self.cluster!r} ({error}): start one with "
                    "`ray start --head`"
                ) from error
        register: Any = register_ray  # untyped where Ray is installed, unknown where it is not
        register()


def _cluster_cores() -> int:
    import ray

    untyped: Any = ray.cluster_resources
    return int(untyped().get("CPU", 1))


def _joblib() -> Any:
    try:
        import joblib.parallel as parallel  # the rest of joblib is pickles
    except ImportError as error:
        raise ConfigError("a sweep needs joblib: pip install 'lacewing[sweep]'") from error
    return parallel


def _here(calls: Sequence[Any], backend: dict[str, Any]) -> Iterator[Outcome]:
    """Outcomes as joblib gives them; whatever ends this early also ends joblib's processes."""
    joblib = _joblib()
    with joblib.parallel_config(**backend):
        parallel = joblib.Parallel(
            return_as="generator_unordered", batch_size=1, pre_dispatch="all"
        )
        try:
            yield from parallel(calls)
        except Exception as error:
            if type(error).__name__ != "TerminatedWorkerError":
                raise
            raise LacewingError(
                "a process of the sweep was killed, often for lack of memory: run the same "
                "command again, with fewer --processes"
            ) from error


def _there(
    calls: Sequence[Any],
    backend: dict[str, Any],
    jobs: Sequence[Job],
    output: Path,
    target: float,
) -> Iterator[Outcome]:
    """Outcomes as their folders appear: joblib's Ray backend gives none before the last is done."""
    joblib = _joblib()
    errors: list[BaseException] = []

    def dispatch() -> None:
        try:
            with joblib.parallel_config(**backend):
                joblib.Parallel(batch_size=1, pre_dispatch="all")(calls)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=dispatch, daemon=True)
    thread.start()
    waiting = list(jobs)
    while waiting:
        alive = thread.is_alive()  # asked first, so that the last look sees everything
        for job in list(waiting):
            if (outcome := told(job, output, target)) is not None:
                waiting.remove(job)
                yield outcome
        if not alive and waiting:
            raise LacewingError(
                f"the cluster gave up with {len(waiting)} jobs open"
                f"{f' ({errors[0]})' if errors else ''}: run the same command again"
            )
        if waiting:
            thread.join(POLL)
    thread.join()
