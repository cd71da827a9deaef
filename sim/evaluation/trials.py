"""Many trials, one process per worker. What is played is passed in: this room knows no pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from robot.core.errors import MissingExtraError

Job = TypeVar("Job")
Result = TypeVar("Result")

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_trials(
    play: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int = 1,
    progress: Callable[[int, Result], None] | None = None,
) -> list[Result]:
    """Play every job and return the results in the order of the jobs, whatever the number of workers.

    Args:
        play: plays one trial; must be picklable when `workers` > 1 (a module's function or `functools.partial`).
        jobs: one per trial, small and picklable: a `TrialSetup`, or what a runner needs to make one.
        workers: processes. Each trial is single-threaded, so one per core is right.
        progress: called in this process after each trial, in order, with the number done and its result.

    Raises:
        MissingExtraError: joblib is not installed and `workers` > 1.
    """
    results: list[Result] = []

    def note(result: Result) -> None:
        results.append(result)
        if progress is not None:
            progress(len(results), result)

    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            note(play(job))
        return results
    try:
        from joblib import Parallel, delayed
    except ModuleNotFoundError as error:
        raise MissingExtraError("joblib is not installed", hint="pip install 'blackout-robot[sim]'") from error
    # Workers are fresh processes: they read these before NumPy, OpenCV and ONNX Runtime start their pools.
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        calls = (delayed(play)(job) for job in jobs)
        for result in Parallel(n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch=2 * workers)(calls):
            note(result)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return results
