"""Star lists as cameras would give them, of skies that are not the reference catalogue's own, with their truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from scenes import sources_of, world

from avcd.sky.detection import Sources
from avcd.sky.geometry import project
from avcd.sky.reference import Tycho2
from avcd.sky.solving import Hint

YEARS = 26.0  # since the catalogue's epoch
REFERENCE = Tycho2()


@dataclass(frozen=True)
class Camera:
    """What is between a field and its frame; lengths in pixels."""

    field_deg: float
    shape: tuple[int, int]
    turn_rad: float
    parity: int
    barrel_px: float = 0.0  # at the middle of an edge
    tilt_px: float = 0.0  # of the second order, there
    scatter_px: float = 0.15
    spurious: float = 0.3  # parts of the list that are no stars
    limit_mag: float = 13.0

    @property
    def scale_arcsec(self) -> float:
        return self.field_deg * 3600 / max(self.shape)

    def bend(self, xy: np.ndarray) -> np.ndarray:
        """Where an ideal position falls."""
        centre, half = np.array(self.shape[::-1]) / 2, max(self.shape) / 2
        u_, v_ = ((xy - centre) / half).T
        square = u_**2 + v_**2
        shift = self.barrel_px * square[:, None] * np.column_stack([u_, v_])
        return xy + shift + self.tilt_px * np.column_stack([u_ * v_, u_**2 - 0.3 * v_**2])


@dataclass(frozen=True)
class Field:
    """A star list, how it came about, and how many reference stars the frame shows."""

    sources: Sources
    truth: WCS
    camera: Camera
    hint: Hint
    reference_stars: int
    kind: str = "field"
    notes: dict[str, float] = field(default_factory=dict)

    def error_px(self, found: WCS) -> np.ndarray:
        """How far world coordinates are from the truth, at 25 places of the frame; the frame's centre is the 13th."""
        height, width = self.camera.shape
        grid = np.array([(x, y) for y in np.linspace(0, height - 1, 5) for x in np.linspace(0, width - 1, 5)])
        ra, dec = self.truth.all_pix2world(*grid.T, 0)
        there = found.all_pix2world(*self.camera.bend(grid).T, 0)
        off = [project(*one, float(ra[12]), float(dec[12])) for one in ((ra, dec), there)]
        error = np.hypot(*(off[1] - off[0]).T) / self.camera.scale_arcsec
        return np.where(np.isfinite(error), error, np.inf)


def draw_camera(rng: np.random.Generator) -> Camera:
    """Any camera: field of 0.4 to 3 degrees, binned 1 to 4, turned and mirrored; one in three bends, one in eight trails."""
    side = 2048 // int(rng.integers(1, 5))
    shape = (side, side) if rng.uniform() < 0.6 else (side * 2 // 3, side)
    bent = rng.uniform() < 0.33
    return Camera(
        field_deg=float(np.exp(rng.uniform(np.log(0.4), np.log(3.0)))),
        shape=shape,
        turn_rad=float(rng.uniform(0, 2 * np.pi)),
        parity=int(rng.choice([-1, 1])),
        barrel_px=float(rng.uniform(-0.006, 0.006) * side) if bent else 0.0,
        tilt_px=float(rng.uniform(-0.002, 0.002) * side) if bent else 0.0,
        scatter_px=1.2 if rng.uniform() < 0.125 else float(rng.uniform(0.08, 0.3)),
        limit_mag=float(rng.uniform(11.8, 14.5)),
    )


def draw_place(rng: np.random.Generator) -> tuple[float, float]:
    """A place by galactic latitude; one in ten near a pole or 0 h of right ascension."""
    odd = rng.uniform()
    if odd < 0.05:
        return float(rng.uniform(0, 360)), float(rng.choice([-1, 1]) * rng.uniform(88.5, 90))
    if odd < 0.1:
        return float(rng.uniform(-0.3, 0.3) % 360), float(rng.uniform(-80, 80))
    here = SkyCoord(rng.uniform(0, 360) * u.deg, rng.uniform(-90, 90) * u.deg, frame="galactic").icrs
    return float(here.ra.deg), float(here.dec.deg)


def offset(ra: float, dec: float, distance_deg: float, angle_rad: float) -> tuple[float, float]:
    """A place so far away."""
    there = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(angle_rad * u.rad, distance_deg * u.deg)
    return float(there.ra.deg), float(there.dec.deg)


def _sky(rng: np.random.Generator, ra: float, dec: float, radius_deg: float, limit_mag: float, per_deg2: float):
    """The true sky of today: the catalogue's stars moved on, with its errors, some of them gone; others it does not have."""
    stars = REFERENCE.cone(ra, dec, radius_deg)
    number = len(stars)
    years_off = rng.laplace(0, 0.012, (number, 2)) * YEARS + rng.normal(0, 0.06, (number, 2))  # arcsec
    dec_now = np.clip(stars.dec_deg + years_off[:, 1] / 3600, -90, 90)
    ra_now = stars.ra_deg + years_off[:, 0] / 3600 / np.maximum(np.cos(np.radians(stars.dec_deg)), 1e-6)
    there = rng.uniform(size=number) > 0.1
    mag = stars.mag + rng.normal(0, 0.35, number)  # another band
    # Stars fainter than the catalogue's, and one in ten as bright as its own that it lacks.
    area = np.pi * radius_deg**2
    more = int(
        min(
            per_deg2 * area * (10 ** (0.35 * (limit_mag - 11.0)) - 0.9), 4000 * radius_deg**2 / max(radius_deg**2, 1e-9)
        )
    )
    distance = radius_deg * np.sqrt(rng.uniform(size=more))
    angle = rng.uniform(0, 2 * np.pi, more)
    faint = 11.0 + np.log10(np.maximum(rng.uniform(0.05, 1, more) * 10 ** (0.35 * (limit_mag - 11.0)), 1e-3)) / 0.35
    return stars, (ra_now[there], dec_now[there], mag[there]), (distance, angle, faint)


def draw_field(seed: int, *, off: float | None = None) -> Field:
    """A field of the sky, hinted with a pointing up to 1.5 fields off (or ``off`` degrees) and a scale up to 10 % off."""
    rng = np.random.default_rng(seed)
    camera, (ra, dec) = draw_camera(rng), draw_place(rng)
    truth = world(ra, dec, camera.scale_arcsec, camera.shape, camera.turn_rad, camera.parity)
    xy, known = _seen(rng, camera, truth, ra, dec)
    distance = rng.uniform(0, 1.5) * camera.field_deg if off is None else off
    hint_ra, hint_dec = offset(ra, dec, distance, float(rng.uniform(0, 2 * np.pi)))
    hint = Hint(hint_ra, hint_dec, camera.scale_arcsec * float(rng.uniform(0.9, 1.1)))
    return Field(sources_of(xy), truth, camera, hint, known)


def _seen(rng: np.random.Generator, camera: Camera, truth: WCS, ra: float, dec: float) -> tuple[np.ndarray, int]:
    """The star list, the brightest first, and the number of reference stars on the frame."""
    radius = 0.75 * camera.field_deg
    stars = REFERENCE.cone(ra, dec, radius)
    bright = int((stars.mag < 11.0).sum())
    per_deg2 = bright / (np.pi * radius**2)
    stars, (now_ra, now_dec, mag), (distance, angle, faint) = _sky(rng, ra, dec, radius, camera.limit_mag, per_deg2)
    height, width = camera.shape
    half = np.array([width, height]) / 2
    xy = camera.bend(np.column_stack(truth.all_world2pix(now_ra, now_dec, 0))) if len(now_ra) else np.empty((0, 2))
    others = half + (distance * 3600 / camera.scale_arcsec)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    xy, mag = np.vstack([xy, others]), np.concatenate([mag, faint])
    xy = xy + rng.normal(0, camera.scatter_px / np.sqrt(2), xy.shape)
    on = np.all((xy >= 0) & (xy < [width, height]), axis=1) & (mag < camera.limit_mag)
    xy, mag = xy[on], mag[on]
    false = int(len(xy) * camera.spurious / (1 - camera.spurious))
    xy = np.vstack([xy, rng.uniform(0, 1, (false, 2)) * [width, height]])
    mag = np.concatenate([mag, rng.choice(mag, false) if len(mag) else np.empty(0)])
    catalogue = (
        camera.bend(np.column_stack(truth.all_world2pix(stars.ra_deg, stars.dec_deg, 0))) if len(stars) else xy[:0]
    )
    known = int(np.all((catalogue >= 0) & (catalogue < [width, height]), axis=1).sum())
    return xy[np.argsort(mag, kind="stable")][:3000], known


def draw_hard(seed: int) -> Field:
    """What must not be solved, or not wrongly: a wrong pointing, random stars, a nebula, too few stars, in turn."""
    rng = np.random.default_rng(100_000 + seed)
    kind = ("wrong pointing", "random stars", "nebula", "few stars")[seed % 4]
    if kind == "wrong pointing":
        one = draw_field(200_000 + seed, off=float(rng.uniform(8, 60)))
        return Field(one.sources, one.truth, one.camera, one.hint, one.reference_stars, kind)
    one = draw_field(200_000 + seed)
    camera, (height, width) = one.camera, one.camera.shape
    number = int(np.exp(rng.uniform(np.log(15), np.log(1500))))
    if kind == "random stars":
        xy = rng.uniform(0, 1, (number, 2)) * [width, height]
    elif kind == "nebula":
        # Knots along filaments, and a few true stars among them.
        knots = []
        for _ in range(int(rng.integers(2, 7))):
            start, end = rng.uniform(0, 1, (2, 2)) * [width, height]
            along = rng.uniform(0, 1, max(number // 4, 5))[:, None]
            bow = np.sin(np.pi * along) * rng.normal(0, 0.15 * width, 2)
            knots.append(start + along * (end - start) + bow + rng.normal(0, 0.01 * width, (len(along), 2)))
        true = np.column_stack([one.sources.x, one.sources.y])[: int(rng.integers(0, 5))]
        xy = rng.permutation(np.vstack([*knots, true]))
    else:
        true = np.column_stack([one.sources.x, one.sources.y])[: int(rng.integers(2, 8))]
        xy = rng.permutation(np.vstack([true, rng.uniform(0, 1, (int(rng.integers(0, 60)), 2)) * [width, height]]))
    xy = xy[np.all((xy >= 0) & (xy < [width, height]), axis=1)]
    return Field(sources_of(xy), one.truth, camera, one.hint, one.reference_stars, kind)
