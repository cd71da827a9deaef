"""The one step against the real firmware core: it plays, it stops when a plug is pulled, and it never raises."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from robot.core import messages as m
from robot.core.geometry import Twist2
from robot.recording.codec import to_json
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import Robot, open_robot
from tests.runtime_bench import MS, BenchWorld, referee

TICK_MS = 10


def new_pipeline(robot: Robot) -> Pipeline:
    return Pipeline(robot.config, robot.camera, robot.field)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return open_robot("default")


Change = Callable[[m.DetectionBatch], m.DetectionBatch]


def batches(
    world: BenchWorld, pipeline: Pipeline, change: Change = lambda seen: seen
) -> Iterator[tuple[m.TickBatch, m.TickResult]]:
    """Play the bench, `change` between camera and robot: yield each batch with its result."""
    tick = seq = 0
    while not world.finished:
        now_ns = tick * TICK_MS * MS
        world.advance_to_ns(now_ns)
        seen = []
        for frame in world.frames():
            times = {"t_capture_ns": frame.t_capture_ns, "t_receive_ns": frame.t_receive_ns}
            shown = m.DetectionBatch(
                seq=seq,
                **times,
                valid=True,
                frame_seq=frame.seq,
                image_size_px=(640, 480),
                detections=world.boxes,
            )
            seen.append(change(shown))
            seq += 1
        batch = m.TickBatch(
            tick=tick,
            t_now_ns=now_ns,
            detections=tuple(seen),
            serial=tuple(world.serial()),
            referee=tuple(world.referee()),
        )
        result = pipeline.step(batch)
        world.write_serial(result.bytes_out)
        yield batch, result
        tick += 1


def play(robot: Robot, change: Change = lambda seen: seen, **changes: Any) -> tuple[BenchWorld, list[m.TickResult]]:
    world = BenchWorld(robot.camera, **changes)
    return world, [result for _, result in batches(world, new_pipeline(robot), change)]


def shifted(seen: m.DetectionBatch, ms: int) -> m.DetectionBatch:
    return dataclasses.replace(seen, t_capture_ns=seen.t_capture_ns + ms * MS)


def faults(results: list[m.TickResult], code: str) -> list[str]:
    """What was said of one fault, once it plays: at the start there is telemetry before there is a picture."""
    return [f.detail for r in results for f in r.faults if f.code == code and r.t_now_ns > 300 * MS]


def when(results: list[m.TickResult], mode: m.Mode) -> list[float]:
    """Milliseconds at which the mode was entered."""
    modes = [m.Mode.BOOT, *(r.mode for r in results)]
    return [
        r.t_now_ns / MS
        for r, before, now in zip(results, modes, modes[1:], strict=False)
        if now is mode and before != now
    ]


def test_it_drives_to_the_ball_and_holds_it(robot: Robot) -> None:
    world, results = play(robot, duration_s=6.0)
    assert world.touched
    assert results[-1].world.ball.in_dribbler
    assert results[-1].mode is m.Mode.ACTIVE
    estimate = results[-1].world.robot.world_from_robot
    assert estimate.distance_to(world.pose) < 0.05
    assert len(when(results, m.Mode.ACTIVE)) == 1


def test_nothing_moves_before_force_start(robot: Robot) -> None:
    world, results = play(robot, duration_s=1.5, commands=((300, m.RefereeCode.STOP),))
    assert world.pose.x_m == 0.0
    assert all(r.command.stop for r in results)
    assert results[-1].mode is m.Mode.READY


def test_halt_stops_a_driving_robot(robot: Robot) -> None:
    commands = ((300, m.RefereeCode.FORCE_START), (900, m.RefereeCode.HALT))
    world, results = play(robot, duration_s=2.0, commands=commands)
    assert max(r.command.twist_in_robot.speed_m_s() for r in results) > 0.3
    assert world.twist.speed_m_s() < 0.01
    assert results[-1].mode is m.Mode.READY


def test_a_lost_link_means_safe_stop_within_120_ms_and_it_comes_back(robot: Robot) -> None:
    world = BenchWorld(robot.camera, duration_s=4.0, serial_on=lambda ms: not 900 < ms < 1500)
    results, speed_m_s = [], {}
    for batch, result in batches(world, new_pipeline(robot)):
        results.append(result)
        speed_m_s[batch.t_now_ns // MS] = world.twist.speed_m_s()
    stops = when(results, m.Mode.SAFE_STOP)
    assert len(stops) == 1
    assert 900 < stops[0] <= 900 + 120
    for result in results:
        if result.mode is m.Mode.SAFE_STOP:
            assert result.command.stop
            assert result.command.twist_in_robot == Twist2()
    active = when(results, m.Mode.ACTIVE)
    assert len(active) == 2
    assert 1500 + 300 <= active[1] <= 1500 + 700  # handshake, then 0.3 s of good inputs
    codes = [(f.code, f.detail) for r in results for f in r.faults]
    assert ("telemetry_lost", "began") in codes
    assert ("telemetry_lost", "ended") in codes
    assert len(codes) < 20  # on change only
    assert speed_m_s[900] > 1.0
    # The watchdog's 100 ms, then the firmware brakes from 1.7 m/s.
    assert max(v for ms, v in speed_m_s.items() if 1450 <= ms <= active[1]) < 0.02
    assert max(v for ms, v in speed_m_s.items() if active[1] < ms) > 0.5


def test_the_firmware_itself_stops_when_the_link_dies(robot: Robot) -> None:
    world, _ = play(robot, duration_s=1.4, serial_on=lambda ms: ms <= 900)
    assert world.twist.speed_m_s() < 0.02


def test_lost_vision_means_degraded_and_slower(robot: Robot) -> None:
    far = {"ball_m": (3.0, 0.3), "duration_s": 4.0}
    _, seeing = play(robot, **far)
    _, blind = play(robot, **far, camera_on=lambda ms: ms < 900)
    entered = when(blind, m.Mode.DEGRADED)
    assert entered
    assert 900 + 450 <= entered[0] <= 900 + 600
    late = slice(180, 230)
    fast, slow = (sum(r.command.twist_in_robot.speed_m_s() for r in results[late]) for results in (seeing, blind))
    assert slow < 0.65 * fast


def test_returning_vision_ends_degraded(robot: Robot) -> None:
    _, results = play(robot, duration_s=4.0, camera_on=lambda ms: not 600 < ms < 1800)
    assert len(when(results, m.Mode.DEGRADED)) == 1
    assert results[-1].mode is m.Mode.ACTIVE


LATE, AHEAD, FROZEN = -1000, 300, None


@pytest.mark.parametrize(
    ("shift_ms", "why"),
    [(LATE, "stale"), (AHEAD, "future"), (FROZEN, "stale")],
    ids=["stamped a second late", "stamped ahead", "one stamp for all"],
)
def test_frames_that_cannot_be_used_for_their_time_are_no_vision(robot: Robot, shift_ms: int | None, why: str) -> None:
    """DEGRADED half a second after the last good frame, with a fault that says why; ACTIVE again with good stamps."""

    def change(seen: m.DetectionBatch) -> m.DetectionBatch:
        if not 1000 * MS <= seen.t_receive_ns < 2500 * MS:
            return seen
        return shifted(seen, shift_ms) if shift_ms else dataclasses.replace(seen, t_capture_ns=970 * MS)

    _, results = play(robot, change, duration_s=4.0)
    entered = when(results, m.Mode.DEGRADED)
    assert len(entered) == 1
    assert 1000 + 450 <= entered[0] <= 1000 + 600
    assert results[-1].mode is m.Mode.ACTIVE
    assert 2500 + 200 <= when(results, m.Mode.ACTIVE)[-1] <= 2500 + 300
    assert faults(results, "vision_lost") == ["began", "ended"]
    began, ended = faults(results, "vision_stale")
    assert f"({why})" in began
    assert {LATE: "1.", AHEAD: "0.2", FROZEN: "0.5"}[shift_ms] in began
    assert ended == "ended"
    assert not when(results, m.Mode.SAFE_STOP)


def too_large(seen: m.DetectionBatch) -> m.DetectionBatch:
    """All balls three times as large as they can be: no observation is used."""
    boxes = [((d.box_px[0] + d.box_px[2]) / 2, (d.box_px[1] + d.box_px[3]) / 2, d) for d in seen.detections]
    grown = [dataclasses.replace(d, box_px=(u - 90.0, v - 90.0, u + 90.0, v + 90.0)) for u, v, d in boxes]
    return dataclasses.replace(seen, detections=tuple(grown))


@pytest.mark.parametrize(
    "change",
    [
        lambda seen: shifted(seen, -1000) if seen.seq % 5 else seen,
        lambda seen: shifted(seen, 300) if seen.seq == 40 else seen,
        too_large,
        lambda seen: dataclasses.replace(seen, image_size_px=(0, 0)) if seen.seq % 3 else seen,
    ],
    ids=["four of five late", "one ahead", "boxes that cannot be", "pictures without a size"],
)
def test_single_frames_and_other_faults_than_time_do_not_end_vision(robot: Robot, change: Change) -> None:
    _, results = play(robot, change, ball_m=(3.0, 0.3), duration_s=3.0)
    assert not when(results, m.Mode.DEGRADED)
    assert not faults(results, "vision_stale")
    assert not faults(results, "vision_lost")
    assert results[-1].mode is m.Mode.ACTIVE


def test_frames_during_a_lost_link_are_not_blamed(robot: Robot) -> None:
    """Without telemetry every frame is ahead of it: that is the link's fault, not the camera's."""
    _, results = play(robot, duration_s=4.0, serial_on=lambda ms: not 900 < ms < 2000)
    assert faults(results, "telemetry_lost") == ["began", "ended"]
    assert not faults(results, "vision_lost")
    assert not faults(results, "vision_stale")


def test_how_long_vision_may_be_silent_is_set_in_the_robots_file() -> None:
    quick = open_robot("default", {"estimation.vision_max_age_s": 0.2})
    _, results = play(quick, duration_s=1.5, camera_on=lambda ms: ms < 900)
    assert 900 + 150 <= when(results, m.Mode.DEGRADED)[0] <= 900 + 250


def test_a_driver_that_stamps_late_plays_as_one_that_stamps_right(robot: Robot) -> None:
    """With `delay_s` set, results are those of right stamps, bit for bit; the batch itself keeps what came."""
    late = open_robot("default", {"estimation.vision.delay_s": 0.015})
    _, right = play(robot, duration_s=3.0)
    world, results = BenchWorld(robot.camera, duration_s=3.0), []
    for batch, result in batches(world, new_pipeline(late), lambda seen: shifted(seen, 15)):
        results.append(result)
        assert all(seen.t_receive_ns - seen.t_capture_ns == 5 * MS for seen in batch.detections)
    assert [to_json(result) for result in results] == [to_json(result) for result in right]


def test_all_that_looks_at_a_pictures_time_looks_at_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tilt for the floor, pose, tracks and the bump watch: all `delay_s` before the stamp."""
    pipeline = new_pipeline(open_robot("default", {"estimation.vision.delay_s": 0.1}))
    asked: list[int] = []
    for name in ("tilt_at", "dead_reckoning_at"):
        monkeypatch.setattr(pipeline.estimator, name, spy(asked, getattr(pipeline.estimator, name)))
    note = pipeline.estimator._maker._boundary.note
    monkeypatch.setattr(pipeline.estimator._maker._boundary, "note", spy(asked, note))
    stamps = []
    for batch, _ in batches(BenchWorld(pipeline._camera, duration_s=1.5), pipeline, lambda seen: shifted(seen, 15)):
        stamps += [seen.t_capture_ns for seen in batch.detections if batch.t_now_ns > 700 * MS]
    assert len(stamps) > 20
    for stamp in stamps:
        assert asked.count(stamp - 100 * MS) == 3
        assert stamp not in asked


def test_frames_ahead_of_their_time_do_not_reach_the_bump_watch(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead reckoning has no pose for them yet: the newest one is another moment's."""
    pipeline, shown = new_pipeline(robot), []
    monkeypatch.setattr(pipeline._camera_watch, "on_detections", lambda seen, _: shown.append(seen.seq))
    for _ in batches(
        BenchWorld(robot.camera, duration_s=1.2), pipeline, lambda seen: shifted(seen, 300 * (seen.seq % 2))
    ):
        pass
    assert len(shown) > 10
    assert not [seq for seq in shown if seq % 2]


def spy(asked: list[int], real: Callable[..., Any]) -> Callable[..., Any]:
    """Note the first argument of each call, a time."""

    def told(t_ns: int, *rest: Any) -> Any:
        asked.append(t_ns)
        return real(t_ns, *rest)

    return told


def garbage(kind: str, rng: np.random.Generator, now_ns: int, tick: int) -> dict[str, Any]:
    """Return batch parts that no healthy robot would produce."""
    head = {"seq": tick, "t_capture_ns": now_ns, "t_receive_ns": now_ns, "valid": True}
    nan, inf = float("nan"), float("inf")
    if kind == "noise":
        return {"serial": (m.SerialChunk(**head, data=rng.bytes(int(rng.integers(0, 400)))),)}
    boxes = {
        "nan": (nan, nan, nan, nan),
        "inf": (-inf, -inf, inf, inf),
        "empty": (300.0, 300.0, 300.0, 300.0),
        "inside_out": (400.0, 400.0, 300.0, 300.0),
        "huge": (-1e9, -1e9, 1e9, 1e9),
    }
    one = m.Detection(
        object_class=m.ObjectClass(tick % 3),
        score=nan if tick % 7 == 0 else 0.9,
        box_px=boxes.get(kind, (1, 2, 30, 40)),
    )
    times = dict(head)
    if kind == "future":
        times["t_capture_ns"] = now_ns + 5_000_000_000
    if kind == "ancient":
        times["t_capture_ns"] = now_ns - 60_000_000_000
    ranges = ((nan, nan), (0.1, inf), (0.2, -1.0)) if kind == "nan" else ()
    return {
        "detections": (
            m.DetectionBatch(
                **times,
                frame_seq=tick,
                image_size_px=(0, 0) if kind == "size" else (640, 480),
                detections=(one,) * (40 if kind == "many" else 1),
                free_range_m=ranges,
            ),
        )
    }


@pytest.mark.parametrize(
    "kind", ["noise", "nan", "inf", "empty", "inside_out", "huge", "future", "ancient", "many", "size"]
)
def test_bad_data_never_raises_and_a_clean_run_follows(robot: Robot, kind: str) -> None:
    """After a second of garbage beside the good data, the robot still plays and every output is finite."""
    rng = np.random.default_rng(5)
    world = BenchWorld(robot.camera, duration_s=7.0)
    pipeline = new_pipeline(robot)
    original: Callable[[m.TickBatch], m.TickResult] = pipeline.step

    def step(batch: m.TickBatch) -> m.TickResult:
        if 40 <= batch.tick < 140:
            bad = garbage(kind, rng, batch.t_now_ns, batch.tick)
            batch = m.TickBatch(
                tick=batch.tick,
                t_now_ns=batch.t_now_ns,
                detections=batch.detections + bad.get("detections", ()),
                serial=batch.serial + bad.get("serial", ()),
                referee=batch.referee,
            )
        return original(batch)

    pipeline.step = step  # type: ignore[method-assign]
    for _, result in batches(world, pipeline):
        assert result.command.twist_in_robot.is_finite()
        assert result.world.robot.world_from_robot.is_finite()
        assert b"NaN" not in to_json(result)
    assert world.touched


NOWHERE = [(1e9, 1e9), (320.0, 1e9), (float("inf"), 100.0), (100.0, -float("inf")), (1e300, 1e300)]


@pytest.mark.parametrize("place", NOWHERE, ids=str)
@pytest.mark.parametrize("what", ["points", "segments", "edge"])
def test_lines_and_edges_out_of_this_world_never_raise_or_warn(
    robot: Robot, what: str, place: tuple[float, float]
) -> None:
    """A point at 1e9 px once led the search out of its map: an IndexError out of `step`."""
    points = tuple((50.0 + 9.0 * i, 400.0 - i) for i in range(40))
    edge = tuple((10.0 * i, 200.0) for i in range(64))
    ranges = tuple((0.4 - 0.0125 * i, 0.5) for i in range(64))
    if what == "points":
        parts: dict[str, Any] = {"line_points_px": (*points, *[place] * 8)}
    elif what == "segments":
        bad = ((50.0, 400.0, 400.0, 410.0), (*place, 300.0, 300.0), (300.0, 300.0, *place))
        parts = {"line_points_px": points, "line_segments_px": bad}
    else:
        parts = {"carpet_edge_px": (*edge[:30], place, *edge[30:]), "free_range_m": (*ranges, (-0.4, 0.5))}
    _, results = play(robot, lambda seen: dataclasses.replace(seen, **parts), duration_s=1.5)
    assert results[-1].world.robot.world_from_robot.is_finite()
    assert results[-1].mode is m.Mode.ACTIVE


def test_an_unknown_stage_stands_still(robot: Robot) -> None:
    pipeline = new_pipeline(robot)
    world = BenchWorld(robot.camera, duration_s=0.5, commands=())
    for _ in batches(world, pipeline):
        pass
    odd = m.RefereeCommand(seq=9, t_capture_ns=0, t_receive_ns=0, valid=True, code=m.RefereeCode.FORCE_START, stage=77)
    result = pipeline.step(m.TickBatch(tick=50, t_now_ns=500 * MS, referee=(odd,)))
    assert result.command.twist_in_robot == Twist2()
    assert "77" in result.plan.reason


def test_the_farewell_stops_and_disarms(robot: Robot) -> None:
    pipeline = new_pipeline(robot)
    world = BenchWorld(robot.camera, duration_s=1.2)
    for _ in batches(world, pipeline):
        pass
    assert world.twist.speed_m_s() > 0.05
    world.write_serial(pipeline.farewell(1200 * MS))
    world.advance_to_ns(1260 * MS)  # long before the watchdog's 100 ms
    frames = pipeline._link.on_bytes(b"".join(c.data for c in world.serial()), 1260 * MS)
    assert not frames[-1].armed
    assert referee(m.RefereeCode.HALT, 1, 0).code is m.RefereeCode.HALT


def test_equal_batches_give_equal_results(robot: Robot) -> None:
    inputs, first = zip(*batches(BenchWorld(robot.camera, duration_s=3.0), new_pipeline(robot)), strict=True)
    fresh = new_pipeline(robot)
    assert [to_json(fresh.step(batch)) for batch in inputs] == [to_json(result) for result in first]


@pytest.mark.parametrize(("pictures", "calls"), [(True, 4), (False, 40)], ids=["a picture in every tick", "none"])
def test_what_can_wait_for_a_tick_without_a_picture_does_not_wait_for_ever(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, pictures: bool, calls: int
) -> None:
    pipeline, called = new_pipeline(robot), []
    monkeypatch.setattr(pipeline.estimator, "locate", lambda: called.append(1))
    for tick in range(40):
        t_ns = 10_000_000 * (tick + 1)
        head = {"seq": tick, "t_capture_ns": t_ns - 1_000_000, "t_receive_ns": t_ns, "valid": True}
        seen = m.DetectionBatch(**head, frame_seq=tick, image_size_px=(640, 480), detections=())
        pipeline.step(m.TickBatch(tick=tick, t_now_ns=t_ns, detections=(seen,) if pictures else ()))
    assert len(called) == calls
