"""Several workers on alternate jobs, results in the order of the jobs: more frames a second from more cores.

Latency stays that of one worker. Used by vision where one worker cannot keep up with the camera (`vision.workers`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class OrderedPool(Generic[Job, Result]):
    """A thread for each worker; jobs go to the workers in turn, one at a time each.

    Args:
        workers: functions of one job; each is called from its own thread only.
        deliver: called with job and result, in the order in which the jobs were submitted, never twice at once, from
            whichever worker's thread completes the row. As soon as a result and all before it are there.
    """

    def __init__(self, workers: Sequence[Callable[[Job], Result]], deliver: Callable[[Job, Result], None]) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._finished: dict[int, tuple[Job, Result]] = {}
        self._submitted = self._delivered = 0
        self._error: BaseException | None = None
        self._queues: list[queue.Queue[tuple[int, Job] | None]] = [queue.Queue() for _ in workers]
        self._idle = [threading.Semaphore(1) for _ in workers]
        self._threads = [
            threading.Thread(target=self._run, args=(k, work), name=f"worker-{k}", daemon=True)
            for k, work in enumerate(workers)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> OrderedPool[Job, Result]:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Deliver what has been submitted, end the threads, and raise what a worker raised."""
        for waiting in self._queues:
            waiting.put(None)
        for thread in self._threads:
            thread.join()
        if error is None and self._error is not None:
            raise self._error

    def wait_idle(self) -> None:
        """Wait until the worker whose turn it is has nothing to do: only then is it worth taking a new job.

        Raises:
            whatever a worker raised before.
        """
        idle = self._idle[self._submitted % len(self._idle)]
        idle.acquire()
        idle.release()
        if self._error is not None:
            raise self._error

    def submit(self, job: Job) -> None:
        """Give the worker whose turn it is a job; waits while it has another."""
        turn = self._submitted % len(self._queues)
        self._idle[turn].acquire()
        self._queues[turn].put((self._submitted, job))
        self._submitted += 1

    def _run(self, turn: int, work: Callable[[Job], Result]) -> None:
        while (entry := self._queues[turn].get()) is not None:
            number, job = entry
            try:
                if self._error is None:
                    result = work(job)
                    with self._lock:
                        self._finished[number] = (job, result)
                        while self._delivered in self._finished:
                            self._deliver(*self._finished.pop(self._delivered))
                            self._delivered += 1
            except BaseException as error:  # noqa: BLE001 - raised again where jobs are submitted
                self._error = self._error or error
            finally:
                self._idle[turn].release()
