"""A recording gives back exactly what was put in, and says what is wrong with a bad file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot.core import messages as m
from robot.core.errors import RecordingError
from robot.core.geometry import Pose2, Twist2
from robot.core.streams import STREAMS
from robot.recording.codec import from_json, json_schema, schema_hash, to_json
from robot.recording.header import RunHeader, make_header
from robot.recording.reader import Recording, frames_path, parse_compressed_image
from robot.recording.writer import BackgroundRecorder, Recorder, RecordingConfig

HEAD = {"seq": 7, "t_capture_ns": 1_000_000_007, "t_receive_ns": 1_000_200_007, "valid": True}
any_float = st.floats(allow_nan=True, allow_infinity=True)


def header() -> RunHeader:
    return make_header(
        kind="simulation", robot={"name": "r"}, camera={"f": 1.5}, field_geometry={}, model={}, run={"seed": 3}
    )


def batch(tick: int, serial: bytes = b"\x00\xff") -> m.TickBatch:
    detection = m.Detection(object_class=m.ObjectClass.BALL, score=0.1 + 0.2, box_px=(1.0, 2.0, 3.0, 4.0))
    seen = m.DetectionBatch(
        **HEAD, frame_seq=tick, image_size_px=(640, 480), detections=(detection,), carpet_edge_px=((0.5, 99.25),)
    )
    referee = m.RefereeCommand(**HEAD, code=m.RefereeCode.FORCE_START, target_in_field_m=(1.0, -0.0))
    return m.TickBatch(
        tick=tick,
        t_now_ns=tick * 10_000_000,
        detections=(seen,),
        serial=(m.SerialChunk(**HEAD, data=serial),),
        referee=(referee,),
    )


def result(tick: int, x_m: float = 0.1) -> m.TickResult:
    robot = m.RobotState(
        **HEAD,
        world_from_robot=Pose2(x_m, 2.0, 0.3),
        twist_in_robot=Twist2(),
        covariance=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        localisation=m.Localisation.ODOMETRY,
    )
    return m.TickResult(
        tick=tick,
        t_now_ns=tick * 10_000_000,
        mode=m.Mode.ACTIVE,
        world=m.WorldModel(**HEAD, robot=robot, ball=m.BallState(**HEAD)),
        plan=m.Plan(**HEAD, play="grab", skill="search", state="turning"),
        target=m.MotionTarget(**HEAD, mode=m.TargetMode.TWIST),
        command=m.MotionCommand(**HEAD, twist_in_robot=Twist2(0.1, 0.0, -0.2)),
        bytes_out=bytes(range(40)),
        link=m.LinkHealth(**HEAD, state="up", device_counters=(("crc", 2),)),
    )


@given(any_float, any_float, st.binary(max_size=300))
def test_every_float_and_byte_survives(x: float, y: float, data: bytes) -> None:
    sent = dataclasses.replace(result(3, x_m=x), bytes_out=data)
    got = from_json(m.TickResult, to_json(sent))
    assert to_json(got) == to_json(sent)
    assert math.copysign(1.0, got.world.robot.world_from_robot.x_m) == math.copysign(1.0, x) or math.isnan(x)
    chunk = m.Pose2(y, x, y)
    assert repr(from_json(Pose2, to_json(chunk))) == repr(chunk)


def test_messages_come_back_equal_with_their_types() -> None:
    sent = batch(5)
    got = from_json(m.TickBatch, to_json(sent))
    assert got == sent
    assert isinstance(got.detections[0].detections[0].object_class, m.ObjectClass)
    assert isinstance(got.detections, tuple)
    assert isinstance(got.detections[0].carpet_edge_px[0], tuple)
    assert from_json(m.TickResult, to_json(result(5))) == result(5)


def test_negative_zero_differs_from_zero() -> None:
    assert to_json(Pose2(0.0, 0.0, 0.0)) != to_json(Pose2(-0.0, 0.0, 0.0))


def test_numpy_scalars_that_leak_into_messages_are_recorded_as_numbers() -> None:
    plain = to_json(Pose2(1.5, 2.5, 0.25))
    assert to_json(Pose2(np.float64(1.5), np.float32(2.5), np.float64(0.25))) == plain  # type: ignore[arg-type]


def test_unknown_keys_are_refused_with_the_type_named() -> None:
    with pytest.raises(RecordingError, match="Pose2"):
        from_json(Pose2, b'{"x_m":1.0,"z_m":2.0}')


def test_schema_describes_every_recorded_stream_and_its_hash_sees_a_change() -> None:
    for row in STREAMS:
        if row.recorded and row.name != "camera/frames":
            assert json_schema(row.message)["properties"]
    assert schema_hash((m.TickBatch,)) != schema_hash((m.TickResult,))


def test_a_file_gives_back_ticks_notes_and_frames(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.mcap"
    image = np.full((48, 64, 3), 90, np.uint8)
    with Recorder(path, header(), RecordingConfig(frame_rate_hz=0.0)) as quiet:
        quiet.frame(m.CameraFrame(**HEAD, image_bgr=image))
    assert list(Recording(path).frames()) == []
    with Recorder(path, header(), RecordingConfig(frame_rate_hz=10.0)) as out:
        for tick in range(50):
            out.batch(batch(tick))
            out.note("truth/pose", tick, {"x_m": tick * 0.1})
            if tick % 3 == 0:
                times = {"t_capture_ns": tick * 10_000_000, "t_receive_ns": tick * 10_000_000 + 5}
                out.frame(m.CameraFrame(seq=tick, **times, image_bgr=image, camera_id="front"))
            if tick != 49:
                out.result(result(tick))
    read = Recording(path)
    assert read.header.run == {"seed": "3"}
    assert read.header.robot == {"name": "r"}
    ticks = list(read.ticks())
    assert [t.batch for t in ticks] == [batch(i) for i in range(50)]
    assert ticks[10].result_json == to_json(result(10))
    assert ticks[49].result_json is None
    assert [d["x_m"] for _, d in read.notes("truth/pose")][:3] == [0.0, 0.1, 0.2]
    frames = list(read.frames())
    assert 4 <= len(frames) <= 6  # 0.5 s at 10 Hz, from frames every 30 ms
    assert frames[1].t_receive_ns == frames[1].t_capture_ns + 5
    assert frames[0].camera_id == "front"
    assert abs(int(frames[0].image_bgr.mean()) - 90) <= 2
    assert read.end_counts()["batch"] == 50


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.97])
def test_a_cut_file_is_named_and_its_head_can_be_salvaged(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "run.mcap"
    with Recorder(path, header(), RecordingConfig(chunk_bytes=4096)) as out:
        for tick in range(400):
            out.batch(batch(tick, serial=np.random.default_rng(tick).bytes(200)))
            out.result(result(tick))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(RecordingError, match=r"cut: \d+ of its messages are readable") as caught:
        Recording(path)
    assert "add --salvage to this command" in caught.value.hint  # whichever it is: all that read recordings have it
    salvaged = [t.batch.tick for t in Recording(path, salvage=True).ticks()]
    assert salvaged == list(range(len(salvaged)))
    assert len(salvaged) >= 400 * (keep - 0.15)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    with Recorder(path, header(), RecordingConfig()) as out:
        for tick in range(100):
            out.batch(batch(tick))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(RecordingError, match="damaged"):
        list(Recording(path).ticks())


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such recording"):
        Recording(tmp_path / "none.mcap")
    text = tmp_path / "log.mcap"
    text.write_text("t,x,y\n0,1,2\n")
    with pytest.raises(RecordingError, match="not an MCAP"):
        Recording(text)
    foreign = tmp_path / "foreign.mcap"
    from mcap.writer import Writer

    with foreign.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        writer.finish()
    with pytest.raises(RecordingError, match="not a recording of Blackout"):
        Recording(foreign)


def test_a_file_that_is_cut_in_its_head_is_called_so(tmp_path: Path) -> None:
    """It was called foreign, after `--salvage` had been advised."""
    path = tmp_path / "run.mcap"
    Recorder(path, header(), RecordingConfig()).close()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordingError, match="cut before its first message"):
        Recording(path, salvage=True)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(RecordingError, match="cannot write"):
        Recorder(blocker / "run.mcap", header(), RecordingConfig())


class SlowRecorder(Recorder):
    """Blocks until the test lets it go."""

    def __init__(self, path: Path) -> None:
        import threading

        self.gate = threading.Event()
        super().__init__(path, header(), RecordingConfig())

    def batch(self, batch: m.TickBatch) -> None:
        self.gate.wait(10.0)
        super().batch(batch)


def test_a_full_queue_drops_and_counts_and_never_blocks(tmp_path: Path) -> None:
    slow = SlowRecorder(tmp_path / "run.mcap")
    out = BackgroundRecorder(slow, queue_messages=8)
    for tick in range(100):
        out.batch(batch(tick))
    assert 90 <= out.dropped["batch"] <= 92  # 8 wait, at most 2 more were taken by the thread
    slow.gate.set()
    out.close()
    read = Recording(slow.path)
    kept = [t.batch.tick for t in read.ticks()]
    assert kept == list(range(len(kept)))
    assert len(kept) + out.dropped["batch"] == 100
    assert read.end_counts()["dropped_batch"] == out.dropped["batch"]


def test_frames_of_the_vision_process_are_found_beside_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    Recorder(path, header(), RecordingConfig()).close()
    with Recorder(frames_path(path), header(), RecordingConfig()) as beside:
        beside.frame(m.CameraFrame(**HEAD, image_bgr=np.zeros((4, 4, 3), np.uint8)))
    assert len(list(Recording(path).frames())) == 1


def test_our_reading_of_compressed_image_equals_protobufs_own(tmp_path: Path) -> None:
    protobuf = pytest.importorskip("mcap_protobuf.decoder")
    from mcap.reader import make_reader

    path = tmp_path / "run.mcap"
    with Recorder(path, header(), RecordingConfig()) as out:
        out.frame(m.CameraFrame(**HEAD, image_bgr=np.zeros((4, 4, 3), np.uint8), camera_id="left"))
    with path.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[protobuf.DecoderFactory()])
        _, _, raw, theirs = next(iter(reader.iter_decoded_messages(["camera/frames"])))
    stamp = theirs.timestamp.seconds * 10**9 + theirs.timestamp.nanos
    assert parse_compressed_image(raw.data) == (stamp, theirs.frame_id, theirs.data)
    assert stamp == HEAD["t_capture_ns"]
