"""Tracks of one kind of object in the odometry frame: nearest association, gates, existence, birth and death."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2

from perception.estimation.config import TrackConfig
from perception.estimation.point import BIAS_FLOOR, PointFilter
from robot.core.clock import NS_PER_S
from robot.core.geometry import FloatArray
from robot.core.messages import Vec2, Verdict

MAX_LOOK_AHEAD_NS = 2 * NS_PER_S


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One detection on the floor, in the odometry frame.

    `covariance_m2` is what changes from frame to frame; `bias_m2` what is the same in all frames from about here
    (calibration), which no number of sightings can average away. `birth` False: it may feed a track but not found one.
    """

    position_m: FloatArray
    covariance_m2: FloatArray
    bias_m2: FloatArray
    score: float
    birth: bool = True


@dataclass(slots=True, eq=False)
class Track:
    """One hypothesis. `t_ns` is where its filter stands, `seen_ns` when it was last sighted."""

    track_id: int
    filter: PointFilter
    t_ns: int
    seen_ns: int
    log_odds: float
    sightings: int = 1
    confirmed: bool = False
    visible: bool = True
    path_m: float = 0.0
    turn_rad: float = 0.0
    """The robot's path and turn when the filter last advanced."""

    bias_m2: FloatArray = field(default_factory=lambda: np.zeros((2, 2)))
    """What calibration may be wrong by at the last sighting, (2, 2)."""

    def age_ns(self, t_ns: int) -> int:
        """Time since the last sighting."""
        return max(0, t_ns - self.seen_ns)


@dataclass(frozen=True, slots=True)
class EgoPath:
    """What the robot has driven since start, and the noise that it costs a track that is not seen meanwhile."""

    path_m: float
    turn_rad: float
    position_m: Vec2
    noise_m_per_sqrt_m: float
    noise_rad_per_sqrt_rad: float

    def variance_m2(self, track: Track) -> float:
        """Position variance that own motion adds since the track's filter last advanced."""
        path, turn = max(0.0, self.path_m - track.path_m), max(0.0, self.turn_rad - track.turn_rad)
        range_m = math.hypot(track.filter.x[0] - self.position_m[0], track.filter.x[1] - self.position_m[1])
        return self.noise_m_per_sqrt_m**2 * path + (self.noise_rad_per_sqrt_rad * range_m) ** 2 * turn


class Tracker:
    """All tracks of one class.

    Existence is a log-odds per track: sightings raise it by their score, frames that should have shown the object
    and did not lower it. One false box therefore founds a tentative track that dies, and never moves another one:
    it fails that track's chi-square gate.
    """

    def __init__(self, config: TrackConfig) -> None:
        self.config = config
        self.tracks: list[Track] = []
        self._gate = float(chi2.ppf(config.gate_probability, 2))
        self._next_id = 1
        self._last_ns: int | None = None
        self.fed: tuple[Track | None, ...] = ()
        """For each sighting of the last frame, the track that it fed or founded."""

    def observe(
        self,
        t_ns: int,
        sightings: Sequence[Sighting],
        range_if_visible: Callable[[FloatArray], float | None],
        ego: EgoPath,
    ) -> tuple[Verdict, ...]:
        """Use one frame.

        Args:
            t_ns: its capture time.
            sightings: what it showed of this class, gates not yet applied.
            range_if_visible: for a position in the odometry frame, the range at which this frame ought to have shown
                an object there, or None where it could not.
            ego: the robot's path so far.

        Returns:
            A verdict per sighting: OK fed or founded a track, OUTLIER did neither.
        """
        for track in self.tracks:
            self._advance(track, t_ns, ego)
            if self._last_ns is not None and track.visible is False:
                track.log_odds -= self.config.unseen_log_odds_per_s * max(0, t_ns - self._last_ns) / NS_PER_S
        self._last_ns = t_ns
        fed: list[Track | None] = [None] * len(sightings)
        matched: set[int] = set()
        taken: set[int] = set()
        for _, row, column in self._pairs(sightings, t_ns):
            if row in taken:
                continue
            taken.add(row)
            fed[row] = self.tracks[column]
            if column in matched:
                continue  # A second box on the same object (split or double detection): explained, not used.
            matched.add(column)
            self._hit(self.tracks[column], sightings[row], t_ns)
        for column, track in enumerate(self.tracks):
            if column not in matched:
                self._miss(track, t_ns, range_if_visible(track.filter.x[:2]))
        for row, sighting in enumerate(sightings):
            if row not in taken and sighting.birth:
                fed[row] = self._found(sighting, t_ns, ego)
        self._bury(t_ns)
        self.fed = tuple(fed)
        return tuple(Verdict.OUTLIER if track is None else Verdict.OK for track in fed)

    def best(self) -> Track | None:
        """The confirmed track that most surely exists."""
        return max((t for t in self.tracks if t.confirmed), key=lambda t: (t.log_odds, t.seen_ns), default=None)

    def remove(self, track: Track) -> None:
        """Forget one track."""
        self.tracks = [t for t in self.tracks if t is not track]

    def found(self, t_ns: int, sighting: Sighting, ego: EgoPath) -> Track:
        """Start a track from a sighting, whatever its score."""
        return self._found(sighting, t_ns, ego)

    def look_ahead(self, track: Track, t_ns: int, ego: EgoPath) -> PointFilter:
        """Return the track's filter predicted to `t_ns`, the track itself untouched."""
        ahead = track.filter.copy()
        ahead.advance(min(max(0, t_ns - track.t_ns), MAX_LOOK_AHEAD_NS) / NS_PER_S, ego.variance_m2(track))
        return ahead

    def covariance_m2(self, track: Track, ahead: PointFilter) -> FloatArray:
        """Return the position covariance (2, 2) of a predicted track, with what calibration may hide."""
        p: FloatArray = ahead.P[:2, :2] + (1.0 - BIAS_FLOOR) * track.bias_m2
        return p

    def shift_time(self, offset_ns: int) -> None:
        """Move all tracks to another time base."""
        self._last_ns = None
        for track in self.tracks:
            track.t_ns += offset_ns
            track.seen_ns += offset_ns

    # --- parts --------------------------------------------------------------------------------------------------

    def _pairs(self, sightings: Sequence[Sighting], t_ns: int) -> list[tuple[float, int, int]]:
        pairs = []
        for row, sighting in enumerate(sightings):
            for column, track in enumerate(self.tracks):
                if track.t_ns > t_ns:
                    continue  # The track has newer evidence (the break-beam) than this late frame.
                d2 = track.filter.distance2(sighting.position_m, sighting.covariance_m2 + track.bias_m2)
                if d2 <= self._gate:
                    # A confirmed track has the first claim on what lies in its gate.
                    pairs.append((d2 if track.confirmed else d2 + self._gate, row, column))
        return sorted(pairs)

    def _hit(self, track: Track, sighting: Sighting, t_ns: int) -> None:
        track.filter.observe(sighting.position_m, sighting.covariance_m2, sighting.bias_m2)
        track.seen_ns, track.visible, track.bias_m2 = t_ns, True, sighting.bias_m2
        track.sightings += 1
        cfg = self.config
        track.log_odds = min(cfg.max_log_odds, track.log_odds + cfg.hit_gain * sighting.score)
        if track.sightings >= cfg.confirm_sightings and track.log_odds >= cfg.confirm_log_odds:
            track.confirmed = True

    def _miss(self, track: Track, t_ns: int, visible_range_m: float | None) -> None:
        if track.t_ns > t_ns:
            return
        track.visible = False
        if visible_range_m is not None:
            track.log_odds += math.log1p(-self._detection_probability(visible_range_m))

    def _detection_probability(self, range_m: float) -> float:
        cfg = self.config
        fraction = min(1.0, max(0.0, (range_m - cfg.near_m) / (cfg.far_m - cfg.near_m)))
        return cfg.p_detect_near + fraction * (cfg.p_detect_far - cfg.p_detect_near)

    def _found(self, sighting: Sighting, t_ns: int, ego: EgoPath) -> Track:
        x, y = sighting.position_m.tolist()
        point = PointFilter(self.config, (x, y), sighting.covariance_m2 + BIAS_FLOOR * sighting.bias_m2)
        odds = self.config.birth_log_odds + self.config.hit_gain * sighting.score
        track = Track(self._next_id, point, t_ns, t_ns, odds, path_m=ego.path_m, turn_rad=ego.turn_rad)
        track.bias_m2 = sighting.bias_m2
        self._next_id += 1
        self.tracks.append(track)
        return track

    def _advance(self, track: Track, t_ns: int, ego: EgoPath) -> None:
        if t_ns <= track.t_ns:
            return
        track.filter.advance((t_ns - track.t_ns) / NS_PER_S, ego.variance_m2(track))
        track.t_ns, track.path_m, track.turn_rad = t_ns, ego.path_m, ego.turn_rad

    def _bury(self, t_ns: int) -> None:
        cfg = self.config
        life_ns = {True: int(cfg.unseen_life_s * NS_PER_S), False: int(cfg.tentative_life_s * NS_PER_S)}
        alive = [
            t
            for t in self.tracks
            if t.log_odds > cfg.death_log_odds
            and t.age_ns(t_ns) <= life_ns[t.confirmed]
            and t.filter.sigma_m() <= cfg.max_sigma_m
            and np.isfinite(t.filter.x).all()
        ]
        alive.sort(key=lambda t: (t.confirmed, t.log_odds), reverse=True)
        self.tracks = sorted(alive[: cfg.max_tracks], key=lambda t: t.track_id)
