"""Tracks of one kind of object in the odometry frame: association, gates, existence, birth and death."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import chi2

from perception.estimation.config import TrackConfig
from perception.estimation.tracks.assignment import assign
from perception.estimation.tracks.bounces import OPEN, Surroundings
from perception.estimation.tracks.manoeuvre import branch_filter, goes_on, take_over
from perception.estimation.tracks.point import BIAS_FLOOR, PointFilter
from perception.estimation.tracks.track import EgoPath, Sighting, Track
from robot.core.clock import NS_PER_S
from robot.core.geometry import FloatArray
from robot.core.messages import Verdict

MAX_LOOK_AHEAD_NS = 2 * NS_PER_S
_UNCLAIMED = 1e3


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
        self._surroundings = OPEN
        self.fed: tuple[Track | None, ...] = ()
        """For each sighting of the last frame, the track that it fed or founded."""

    def observe(
        self,
        t_ns: int,
        sightings: Sequence[Sighting],
        range_if_visible: Callable[[FloatArray], float | None],
        ego: EgoPath,
        surroundings: Surroundings = OPEN,
    ) -> tuple[Verdict, ...]:
        """Use one frame.

        Args:
            t_ns: its capture time.
            sightings: what it showed of this class, gates not yet applied.
            range_if_visible: for a position in the odometry frame, the range at which this frame ought to have shown
                an object there, or None where it could not.
            ego: the robot's path so far.
            surroundings: what these things bounce off.

        Returns:
            A verdict per sighting: OK fed or founded a track, OUTLIER did neither.
        """
        self._surroundings = surroundings
        for track in self.tracks:
            self._advance(track, t_ns, ego)
            if self._last_ns is not None and track.visible is False:
                track.log_odds -= self.config.unseen_log_odds_per_s * max(0, t_ns - self._last_ns) / NS_PER_S
        self._last_ns = t_ns
        fed: list[Track | None] = [None] * len(sightings)
        near = self._in_gates(sightings, t_ns)
        matched: dict[int, int] = {}
        # What is seen wholly claims first: a foot behind another robot fits many tracks, and would trade a sure pair
        # for two poor ones.
        for whole in (True, False):
            open_pairs = {p: c for p, c in near.items() if sightings[p[0]].birth is whole and p[1] not in matched}
            for row, column in assign(open_pairs, _UNCLAIMED):
                matched[column] = row
                fed[row] = self.tracks[column]
                self._hit(self.tracks[column], sightings[row], t_ns)
        for row, column in near:
            # A second box on the same object (split or double detection) is explained, not used.
            if fed[row] is None and column in matched and sightings[row].same_thing_as(sightings[matched[column]]):
                fed[row] = self.tracks[column]
        for column, track in enumerate(self.tracks):
            if column not in matched:
                self._miss(track, t_ns, range_if_visible(track.filter.x[:2]))
        for row, sighting in enumerate(sightings):
            if fed[row] is None and sighting.birth and sighting.score >= self.config.birth_score:
                fed[row] = self._begin(sighting, t_ns, ego)
        self._promote(t_ns, fed)
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
        x, y = sighting.position_m.tolist()
        point = PointFilter(self.config, (x, y), sighting.covariance_m2 + BIAS_FLOOR * sighting.bias_m2)
        return self._add(point, sighting, t_ns, ego)

    def look_ahead(self, track: Track, t_ns: int, ego: EgoPath) -> PointFilter:
        """Return the track's filter predicted to `t_ns`, the track itself untouched."""
        ahead = track.filter.copy()
        dt_s = min(max(0, t_ns - track.t_ns), MAX_LOOK_AHEAD_NS) / NS_PER_S
        ahead.advance(dt_s, ego.variance_m2(track, t_ns), self._surroundings)
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
            track.born_ns += offset_ns

    # --- parts --------------------------------------------------------------------------------------------------

    def _in_gates(self, sightings: Sequence[Sighting], t_ns: int) -> dict[tuple[int, int], float]:
        """Return the cost of every (sighting, track) that the gates allow."""
        costs = {}
        for row, sighting in enumerate(sightings):
            for column, track in enumerate(self.tracks):
                if track.t_ns > t_ns or not sighting.feed:
                    continue  # The track has newer evidence (the break-beam) than this late frame.
                d2, log_det = track.filter.distance2(sighting.position_m, sighting.covariance_m2 + track.bias_m2)
                if d2 <= self._gate:
                    # A confirmed track has the first claim on what lies in its gate.
                    costs[row, column] = d2 + log_det if track.confirmed else d2 + log_det + self._gate
        return costs

    def _hit(self, track: Track, sighting: Sighting, t_ns: int) -> None:
        track.nis, _ = track.filter.distance2(sighting.position_m, sighting.covariance_m2 + sighting.bias_m2)
        track.filter.observe(sighting.position_m, sighting.covariance_m2, sighting.bias_m2)
        track.seen_ns, track.visible, track.bias_m2 = t_ns, True, sighting.bias_m2
        track.seen_m = (float(track.filter.x[0]), float(track.filter.x[1]))
        track.sightings += 1
        cfg = self.config
        most = min(cfg.max_log_odds, cfg.first_log_odds + cfg.log_odds_per_sighting * track.sightings)
        track.log_odds = max(track.log_odds, min(most, track.log_odds + cfg.hit_gain * sighting.score))
        if track.sightings >= track.confirm_sightings and track.log_odds >= cfg.confirm_log_odds:
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

    def _begin(self, sighting: Sighting, t_ns: int, ego: EgoPath) -> Track:
        """Found what an unexplained sighting can mean: something new, or a known thing that was kicked or has bounced.

        As a branch of a confirmed track it may become that track. As a branch of a single sighting it makes a moving
        thing of the two, which must then be seen a third time: any two points lie on a line.
        """
        cfg = self.config
        continues: Track | None = None
        for track in [t for t in self.tracks if t.seen_ns < t_ns and t.parent is None] if cfg.manoeuvres else ():
            point = branch_filter(track, sighting, t_ns) if track.confirmed or track.sightings == 1 else None
            if point is None:
                continue
            branch = self._add(point, sighting, t_ns, ego)
            if track.confirmed:
                continues, branch.parent = branch, track
            else:
                branch.log_odds = min(cfg.max_log_odds, track.log_odds + cfg.hit_gain * sighting.score)
                branch.sightings, branch.confirm_sightings = 2, cfg.confirm_sightings + 1
        # If it stands still, the branch of a confirmed track learns that from its next sighting.
        return continues or self.found(t_ns, sighting, ego)

    def _promote(self, t_ns: int, fed: list[Track | None]) -> None:
        """Let a branch that goes on, while its parent is not seen, become its parent."""
        for branch in [t for t in self.tracks if t.parent is not None]:
            parent = branch.parent
            assert parent is not None
            gone = not any(t is parent for t in self.tracks)
            if gone or parent.seen_ns >= branch.born_ns:
                branch.parent = None  # The parent is where it was, or no more: this is another thing.
            elif branch.sightings >= self.config.confirm_sightings and branch.seen_ns == t_ns and goes_on(branch):
                take_over(branch, parent)
                self.remove(branch)
                fed[:] = [parent if track is branch else track for track in fed]

    def _add(self, point: PointFilter, sighting: Sighting, t_ns: int, ego: EgoPath) -> Track:
        cfg = self.config
        odds = cfg.birth_log_odds + cfg.hit_gain * sighting.score
        track = Track(
            self._next_id,
            point,
            t_ns,
            t_ns,
            odds,
            seen_m=(float(point.x[0]), float(point.x[1])),
            born_ns=t_ns,
            confirm_sightings=cfg.confirm_sightings,
            path_m=ego.path_m,
            turn_rad=ego.turn_rad,
            bias_m2=sighting.bias_m2,
        )
        self._next_id += 1
        self.tracks.append(track)
        return track

    def _advance(self, track: Track, t_ns: int, ego: EgoPath) -> None:
        if t_ns <= track.t_ns:
            return
        track.filter.advance((t_ns - track.t_ns) / NS_PER_S, ego.variance_m2(track, t_ns), self._surroundings)
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
        kept: list[Track] = []
        for track in alive:
            if not any(self._duplicate(track, other) for other in kept):
                kept.append(track)
        self.tracks = sorted(kept[: cfg.max_tracks], key=lambda t: t.track_id)

    def _duplicate(self, track: Track, other: Track) -> bool:
        """True when `track`, which was not seen in the last frame, stands where a surer one that was seen stands."""
        if track.visible or not other.visible or self.config.merge_m <= 0.0:
            return False
        away = track.filter.x[:2] - other.filter.x[:2]
        return float(np.hypot(away[0], away[1])) < self.config.merge_m
