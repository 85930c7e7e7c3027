"""Simulated flights over a relief of 10 m: databases with noise on pixels and GPS, and control points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from astr_cli.sfm.colmap import open_database, pycolmap, quiet, read_model
from astr_cli.sfm.mapping.control_adjustment import triangulated
from astr_cli.sfm.mapping.control_points import ControlPoint
from astr_cli.sfm.mapping.mapper import ModelSummary

Kind = Literal["grid", "line", "orbit"]

HEIGHT = 50.0  # metres above the ground in the mean
SIZE = (1600, 1200)
FOCAL = 2000.0  # pixels: 2.5 cm on the ground
RELIEF = 10.0  # metres from the lowest point to the highest
ORIGIN = (46.5, 8.0, 600.0)  # WGS84: latitude, longitude, height
UTM = np.array([500000.0, 5150000.0, 600.0])  # of the origin, as if its axes were those of the grid
CHECKS = "p1,p2,p5,p6,p9"  # the others are on both sides of the line
FEWEST = 30  # common points of a pair
SPREAD = (60.0, 60.0)  # metres from the middle to the last points


def ground(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Heights of the relief, metres."""
    return RELIEF / 2 * np.sin(x / 11 + 1) * np.cos(y / 9)


def nadir(yaw: float) -> np.ndarray:
    """(3, 3) camera from world (east, north, up), looking down, the photo's top towards `yaw` east of north."""
    east, north = np.array([np.cos(yaw), -np.sin(yaw), 0]), np.array([np.sin(yaw), np.cos(yaw), 0])
    return np.stack([east, -north, [0, 0, -1]])


def looking(centre: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(3, 3) camera from world, looking at a target, level."""
    z = (target - centre) / np.linalg.norm(target - centre)
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def stations(kind: Kind, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) centres and (N, 3, 3) rotations, camera from world, of a flight."""
    if kind == "orbit":
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        centres = np.column_stack([40 * np.cos(angles), 40 * np.sin(angles), np.full(24, 40.0)])
        return centres, np.stack([looking(centre, np.zeros(3)) for centre in centres])
    across = np.array([-22.0, -7.0, 7.0, 22.0]) if kind == "grid" else np.zeros(1)
    along = np.linspace(-28, 28, 6) if kind == "grid" else np.linspace(-40, 40, 12)
    places = [(x, y) for x in across for y in along]
    wobble = 0.3 if kind == "grid" else 0.1  # metres; a line of photos is a line
    centres = np.array([[x, y, HEIGHT] for x, y in places]) + random.normal(0, wobble, (len(places), 3))
    turns = [nadir(np.pi * (index // len(along) % 2)) for index in range(len(places))]
    tilts = [pycolmap.Rotation3d(np.append(random.normal(0, 0.02, 2), 0.0)).matrix() for _ in places]
    return centres, np.stack([tilt @ turn for tilt, turn in zip(tilts, turns, strict=True)])


@dataclass(frozen=True)
class Flight:
    """A flight with its truth, in metres east, north and up of ORIGIN."""

    centres: np.ndarray  # (N, 3)
    rotations: np.ndarray  # (N, 3, 3) camera from world
    points: np.ndarray  # (P, 3) of the ground
    control: dict[str, np.ndarray]  # (3,) by name, true
    gps: np.ndarray  # (N, 3) measured
    focal: float = FOCAL
    prior: float = FOCAL  # the focal length before mapping
    known: bool = True  # whether it is more than a guess
    model: str = "SIMPLE_RADIAL"  # in the database
    distortion: float = 0.0  # the first radial coefficient
    second: float = 0.0  # the second one of OPENCV
    tangential: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.5  # pixels
    seed: int = 0
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(f"{number:02}.jpg" for number in range(len(self.centres))))

    def seen(self, photo: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M, 2) exact COLMAP pixels of (M, 3) points, and (M,) whether they are in the photo."""
        rays = (points - self.centres[photo]) @ self.rotations[photo].T
        flat = rays[:, :2] / rays[:, 2:]
        pixels = self.focal * self.bend(flat) + np.array(SIZE) / 2
        return pixels, (rays[:, 2] > 1) & ((pixels > 0) & (pixels < SIZE)).all(1)

    def bend(self, flat: np.ndarray) -> np.ndarray:
        """(M, 2) distorted points of the plane at depth 1."""
        if self.model == "OPENCV_FISHEYE":
            radius = np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
            angle = np.arctan(radius)
            return flat / radius * angle * (1 + self.distortion * angle**2)
        square, (x, y) = (flat**2).sum(1), flat.T
        across, down = self.tangential
        aside = 2 * across * x * y + down * (square + 2 * x**2), across * (square + 2 * y**2) + 2 * down * x * y
        return flat * (1 + self.distortion * square + self.second * square**2)[:, None] + np.stack(aside, 1)

    def write(self, database: Path) -> Path:
        """A verified database with GPS."""
        random = np.random.default_rng(self.seed)
        simple = self.model == "SIMPLE_RADIAL"
        params = [*[self.prior] * (1 if simple else 2), SIZE[0] / 2, SIZE[1] / 2, *[0.0] * (1 if simple else 4)]
        numbers: list[np.ndarray] = []
        with quiet(), open_database(database) as opened, pycolmap.DatabaseTransaction(opened):
            camera = pycolmap.Camera(model=self.model, width=SIZE[0], height=SIZE[1], params=params)
            camera.has_prior_focal_length = self.known
            camera.camera_id = opened.write_camera(camera)
            rig = pycolmap.Rig()
            rig.add_ref_sensor(camera.sensor_id)
            rig.rig_id = opened.write_rig(rig)
            for photo, name in enumerate(self.names):
                image = pycolmap.Image(name=name, camera_id=camera.camera_id)
                image.image_id = opened.write_image(image)
                frame = pycolmap.Frame()
                frame.rig_id = rig.rig_id
                frame.add_data_id(image.data_id)
                opened.write_frame(frame)
                pixels, inside = self.seen(photo, self.points)
                pixels = pixels[inside] + random.normal(0, self.noise, (int(inside.sum()), 2))
                opened.write_keypoints(image.image_id, pixels.astype(np.float32))
                numbers.append(np.flatnonzero(inside))
                place = pycolmap.GPSTransform().enu_to_ellipsoid(self.gps[photo][None], *ORIGIN)[0]
                prior = pycolmap.PosePrior(corr_data_id=image.data_id, position=place)
                prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.WGS84
                opened.write_pose_prior(prior)
            for first, second, matches in _pairs(numbers):
                opened.write_matches(first + 1, second + 1, matches)
                geometry = pycolmap.TwoViewGeometry()
                geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
                geometry.inlier_matches = matches
                opened.write_two_view_geometry(first + 1, second + 1, geometry)
        return database

    def write_photos(self, folder: Path, height: float = HEIGHT) -> None:
        """Grey photos with the XMP of a drone; height: RelativeAltitude, metres."""
        for name, rotation in zip(self.names, self.rotations, strict=True):
            east, north, up = rotation[2]
            yaw = np.degrees(np.arctan2(east, north) if np.hypot(east, north) > 0.2 else np.arctan2(*-rotation[1][:2]))
            write_tags(folder / name, pitch=float(np.degrees(np.arcsin(up))), yaw=float(yaw), height=height)

    def marked(self, noise: float = 0.5) -> Iterator[tuple[str, int, np.ndarray]]:
        """Observations of the control points: name, photo, (2,) COLMAP pixels, at most 6 photos per point."""
        random = np.random.default_rng(self.seed + 1)
        for name, point in self.control.items():
            shown = [photo for photo in range(len(self.names)) if self.seen(photo, point[None])[1][0]]
            for photo in shown[:: max(1, len(shown) // 6)][:6]:
                yield name, photo, self.seen(photo, point[None])[0][0] + random.normal(0, noise, 2)

    def write_control(self, path: Path, noise: float = 0.02) -> Path:
        """A file of the control points; noise: of their positions, metres; of the marks it is half a pixel."""
        random = np.random.default_rng(self.seed + 2)
        known = {name: point + random.normal(0, noise, 3) + UTM for name, point in self.control.items()}
        rows = (
            " ".join([*(f"{value:.4f}" for value in (*known[name], *pixel)), self.names[photo], name])
            for name, photo, pixel in self.marked()
        )
        path.write_text("\n".join(["WGS84 UTM 32N", *rows, ""]), encoding="utf-8")
        return path


def write_tags(path: Path, pitch: float, yaw: float, height: float, rtk: float | None = None) -> None:
    """A grey JPEG with XMP as DJI writes it; angles in degrees, height and standard deviation in metres."""
    Image.new("L", SIZE, 128).save(path, "JPEG")
    more = (
        ""
        if rtk is None
        else f' drone-dji:RtkStdLon="{rtk}" drone-dji:RtkStdLat="{rtk}" drone-dji:RtkStdHgt="{2 * rtk}"'
    )
    text = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a drone-dji:GimbalPitchDegree="{pitch:+.2f}" '
        f'drone-dji:GimbalYawDegree="{yaw:+.2f}" drone-dji:RelativeAltitude="{height:+.2f}"{more}/></x:xmpmeta>'
    )
    packet = b"http://ns.adobe.com/xap/1.0/\0" + text.encode()
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(packet) + 2).to_bytes(2, "big") + packet + data[2:])


def _pairs(numbers: list[np.ndarray]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Photos with enough common points, and (M, 2) indices of these in both."""
    for first, second in itertools.combinations(range(len(numbers)), 2):
        _, ours, theirs = np.intersect1d(numbers[first], numbers[second], return_indices=True)
        if len(ours) >= FEWEST:
            yield first, second, np.column_stack([ours, theirs]).astype(np.uint32)


def fly(kind: Kind, gps: float = 2.0, points: int = 900, **settings: Any) -> Flight:
    """A flight; gps: standard deviation per axis, metres; settings: those of Flight."""
    random = np.random.default_rng(7)
    centres, rotations = stations(kind, random)
    where = random.uniform(-1, 1, (points, 2)) * SPREAD
    if kind == "line":
        where[:, 0] *= 0.4
    relief = np.column_stack([where, ground(*where.T)])
    sides = 12.0 if kind == "line" else 25.0  # metres: control points on both sides of the line
    marks = [
        (sign * sides * (0.6 + 0.4 * (index % 2)), y)
        for index, y in enumerate((-30, -15, 0, 15, 30))
        for sign in (-1, 1)
    ]
    control = {f"p{index}": np.array([x, y, ground(np.array(x), np.array(y))]) for index, (x, y) in enumerate(marks)}
    measured = centres + random.normal(0, gps, centres.shape)
    return Flight(centres, rotations, relief, control, measured, **settings)


def check_errors(model: ModelSummary, points: tuple[ControlPoint, ...]) -> np.ndarray:
    """(C, 3) errors at the check points of a model by GPS, metres east, north and up."""
    place = model.georeference
    if place is None:
        raise ValueError(f"{model.folder}: is not in metres")
    made, gps = read_model(model.folder), pycolmap.GPSTransform()
    found = np.array([triangulated(made, point) for point in points])
    if place.grid is not None:  # back to the plane that touches the earth
        angle = np.radians(place.grid.turn)
        cos, sin = np.cos(angle), np.sin(angle)
        found = found @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) / place.grid.scale
    earth = gps.enu_to_ellipsoid(found, place.latitude, place.longitude, place.altitude)
    known = np.array([point.position for point in points]) - UTM
    return np.asarray(gps.ellipsoid_to_enu(earth, *ORIGIN) - known)
