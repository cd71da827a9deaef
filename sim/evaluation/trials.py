"""Many trials, one process per worker. What is played is passed in: this room knows no pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from robot.core.errors import MissingExtraError

Job = TypeVar("Job")
Result = TypeVar("Result")

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_trials(play: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 1) -> Iterator[Result]:
    """Play every job and yield the results in the order of the jobs, whatever the number of workers.

    Args:
        play: plays one trial; must be picklable when `workers` > 1 (a module's function or `functools.partial`).
        jobs: what `play` takes: a `TrialSetup`, or something with one in it.
        workers: processes. Each trial is single-threaded, so one per core is right.

    Raises:
        MissingExtraError: joblib is not installed and `workers` > 1.
    """
    if workers <= 1 or len(jobs) <= 1:
        yield from map(play, jobs)
        return
    try:
        from joblib import Parallel, delayed
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "joblib is not installed", hint="pip install 'blackout-robot[sim]', or use --workers 1"
        ) from error
    # Workers are fresh processes: they read these before NumPy, OpenCV and ONNX Runtime start their pools.
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield from Parallel(n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch=2 * workers)(
            delayed(play)(job) for job in jobs
        )
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
