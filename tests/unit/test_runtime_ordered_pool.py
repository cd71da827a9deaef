"""Workers in turn: order kept, no job waits in vain, errors reach the one who submits; and vision with two of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perception.capture.source import CaptureStats
from robot.core.clock import MonotonicClock
from robot.core.messages import CameraFrame, Detection, DetectionBatch, ObjectClass
from robot.runtime.ordered_pool import OrderedPool
from robot.runtime.robot_config import open_robot
from robot.runtime.vision import VisionStage, make_stages
from robot.runtime.vision_loop import run_vision

pytestmark = pytest.mark.timeout(60)


def test_results_come_in_order_however_long_each_takes() -> None:
    seen: list[tuple[int, int]] = []
    threads: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}

    def worker(number: int) -> Callable[[int], int]:
        def work(job: int) -> int:
            threads[number].add(threading.current_thread().name)
            time.sleep(0.003 * ((job * 7) % 5))
            return job * job

        return work

    with OrderedPool([worker(k) for k in range(3)], lambda job, result: seen.append((job, result))) as pool:
        for job in range(40):
            pool.submit(job)
    assert seen == [(job, job * job) for job in range(40)]
    assert all(len(names) == 1 for names in threads.values()), "a worker belongs to one thread"


def test_two_workers_are_at_work_at_once_and_a_third_job_waits() -> None:
    together, release = threading.Barrier(3), threading.Event()

    def work(job: int) -> int:
        if job < 2:
            together.wait(10.0)  # breaks unless both work at the same time
            release.wait(10.0)
        return job

    seen: list[int] = []
    with OrderedPool([work, work], lambda job, result: seen.append(result)) as pool:
        pool.submit(0)
        pool.submit(1)
        together.wait(10.0)
        idle = threading.Thread(target=pool.wait_idle)
        idle.start()
        idle.join(0.05)
        assert idle.is_alive(), "both are busy"
        release.set()
        idle.join(10.0)
        assert not idle.is_alive()
        pool.submit(2)
    assert seen == [0, 1, 2]


def test_a_result_does_not_wait_for_the_next_job() -> None:
    arrived = threading.Event()
    with OrderedPool([lambda job: job, lambda job: job], lambda job, result: arrived.set()) as pool:
        pool.submit(1)
        assert arrived.wait(10.0)


def test_a_workers_error_reaches_the_one_who_submits() -> None:
    def work(job: int) -> int:
        raise ValueError(f"job {job} broke")

    def submit_two() -> None:
        with OrderedPool([work, work], lambda job, result: None) as pool:
            pool.submit(1)
            pool.wait_idle()
            pool.submit(2)

    with pytest.raises(ValueError, match=r"job \d broke"):
        submit_two()


class FakeDetector:
    """Sees one ball whose score is the frame's brightness; slow on every third frame."""

    model_name, input_size_px = "fake", (64, 48)

    def detect(self, image_bgr: Any) -> tuple[Detection, ...]:
        level = int(image_bgr[0, 0, 0])
        time.sleep(0.01 if level % 3 == 0 else 0.001)
        return (Detection(object_class=ObjectClass.BALL, score=level / 255, box_px=(0.0, 0.0, 1.0, 1.0)),)


class FakeSource:
    """Thirty frames, each as bright as its number."""

    stats = CaptureStats()

    def __init__(self) -> None:
        self.given = 0

    @property
    def ended(self) -> bool:
        return self.given == 30

    def next_frame(self, timeout_s: float) -> CameraFrame | None:
        image = np.full((48, 64, 3), self.given, np.uint8)
        self.given += 1
        number = self.given - 1
        return CameraFrame(seq=number, t_capture_ns=number, t_receive_ns=number, valid=True, image_bgr=image)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_vision_with_several_workers_sends_every_frame_in_order(workers: int) -> None:
    sent: list[DetectionBatch] = []
    stages = [VisionStage(FakeDetector()) for _ in range(workers)]  # type: ignore[arg-type]
    report = run_vision(FakeSource(), stages, MonotonicClock(), sent.append, lambda: False, None)  # type: ignore[arg-type]
    assert [b.frame_seq for b in sent] == list(range(30))
    assert [b.seq for b in sent] == list(range(30))
    assert [round(b.detections[0].score * 255) for b in sent] == list(range(30))
    assert report.analysed == 30


class BlindDetector(FakeDetector):
    """Sees nothing; slow on every third picture, so that workers overtake each other."""

    def __init__(self) -> None:
        self.count = 0

    def detect(self, image_bgr: Any) -> tuple[Detection, ...]:
        self.count += 1
        time.sleep(0.02 if self.count % 3 == 0 else 0.0)
        return ()


class ChangingFloor(FakeSource):
    """A green carpet; then a grey floor for longer than the memory of the carpet lasts."""

    GREEN, GREY = 6, 70

    @property
    def ended(self) -> bool:
        return self.given == self.GREEN + self.GREY

    def next_frame(self, timeout_s: float) -> CameraFrame | None:
        number, self.given = self.given, self.given + 1
        image = np.random.default_rng(number).normal(0.0, 4.0, (480, 640, 3))
        image += np.array((60, 110, 40) if number < self.GREEN else (150, 155, 152))
        image[:160] = (30, 30, 60)  # what stands behind
        picture = np.clip(image, 0, 255).astype(np.uint8)
        return CameraFrame(seq=number, t_capture_ns=number, t_receive_ns=number, valid=True, image_bgr=picture)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_one_memory_of_the_carpet(workers: int) -> None:
    """With a memory each, two workers would need 120 pictures of the new floor, and three 180."""
    robot = open_robot("default", {"vision.find_lines": False})
    sent: list[DetectionBatch] = []
    stages = make_stages(robot, [BlindDetector() for _ in range(workers)])  # type: ignore[misc]
    run_vision(ChangingFloor(), stages, MonotonicClock(), sent.append, lambda: False, None)  # type: ignore[arg-type]
    known = [bool(b.carpet_edge_px) for b in sent]
    assert known == [True] * 6 + [False] * 60 + [True] * 10
    assert [bool(b.free_range_m) for b in sent] == known
