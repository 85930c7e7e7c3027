"""The only module that calls pycolmap: loading it, calling it, and limiting its log."""

from __future__ import annotations

import signal
import zlib  # noqa: F401  (first: see below)
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.matching.resources.signals import StopFlag

# pycolmap 4.2 exports a zlib of its own. Loaded before the system's, it captures half of its calls, and the next PNG
# that Pillow or OpenCV writes ends the process with "free(): invalid pointer". Python's zlib module loads the latter.
try:
    import pycolmap
except ImportError as error:
    raise AstrError(f"pycolmap cannot be loaded ({error}); install it: pip install pycolmap") from None


__all__ = [
    "HEARD",
    "NewCamera",
    "add_images",
    "cancellable",
    "guided_verification",
    "known_models",
    "match_sift",
    "open_database",
    "pycolmap",
    "quiet",
    "read_model",
    "sensor_focal",
    "verification",
]

# 3.12 and 3.13 can verify by `verify_matches` only, which empties lists of fewer than 15 matches and sends pairs that
# have none to SIFT; they know neither known poses nor the global mapper.
OLDEST = (4, 2)  # the first whose long calls can be cancelled
GUESSED_FOCAL = 1.2  # times the long side, as COLMAP guesses
HEARD = 0.1  # seconds until a signal is acted on


def check_version(version: str) -> None:
    """Raises AstrError for a pycolmap that is too old."""
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise AstrError(f"pycolmap {version} is too old; install {least} or newer: pip install 'pycolmap>={least}'")


check_version(pycolmap.__version__)


def _hear_signals_again() -> None:
    """Gives SIGTERM back to Python: pycolmap, when loaded, makes it print the stack and end the process."""
    with suppress(ValueError):  # Python sets handlers in the main thread only
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


_hear_signals_again()


@contextmanager
def quiet(errors: bool = True) -> Iterator[None]:
    """Holds back COLMAP's notes and warnings on standard error, and with errors=False its errors too.

    The latter is for calls that raise their errors anyway, or whose caller reports them.
    """
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.ERROR if errors else pycolmap.logging.FATAL)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def cancellable(
    stop: StopFlag, function: Callable[..., Any], *arguments: Any, waiting: Callable[[], None] = lambda: None
) -> Any:
    """Calls a long function of pycolmap in a thread, so that this one hears signals meanwhile, and cancels it then.

    `waiting` is called again and again meanwhile. Raises Interrupted when `stop` was set, and what the function
    raises.
    """
    token = pycolmap.CancellationToken()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(function, *arguments, cancellation_token=token)
        while not wait([future], timeout=HEARD).done:
            waiting()
            if stop.requested:
                token.cancel()
    stop.check()
    return future.result()


@contextmanager
def open_database(path: Path) -> Iterator[pycolmap.Database]:
    """A database as COLMAP opens it, updated to the schema of this version; created when missing.

    Raises AstrError: COLMAP cannot open it, for which it gives no reason.
    """
    with quiet(errors=False):
        try:
            database = pycolmap.Database.open(path)
        except RuntimeError:
            raise AstrError(
                f"{path.parent}: COLMAP cannot open a database there; if it is a network drive without locks, or a "
                "folder that cannot be written, use a folder elsewhere"
            ) from None
    try:
        yield database
    finally:
        database.close()


def known_models() -> frozenset[str]:
    """The camera models of this version."""
    return frozenset(pycolmap.CameraModelId.__members__) - {"INVALID"}


class NewCamera(NamedTuple):
    """A camera to write, and the photos that it took."""

    model: str
    size: tuple[int, int]
    """(width, height) in pixels."""
    focal: float | None
    """Pixels; None: unknown, and 1.2 times the long side for a start."""
    params: tuple[float, ...] | None
    """All known parameters, in place of the focal length."""
    names: tuple[str, ...]
    number: int | None = None
    """Of a camera that the database holds already, and that these photos share; None: a new one."""


def add_images(
    database: Path, names: Sequence[str], cameras: Sequence[NewCamera], places: Mapping[str, tuple[float, float, float]]
) -> None:
    """Writes the photos `names`, in this order, with cameras, rigs, frames and pose priors.

    cameras: every photo is in one. places: latitude, longitude (degrees) and altitude (metres, NaN: unknown).
    """
    owner = {name: camera for camera in cameras for name in camera.names}
    written: dict[NewCamera, Any] = {}
    with quiet(errors=False), open_database(database) as opened, pycolmap.DatabaseTransaction(opened):
        for name in names:
            if owner[name] not in written:
                written[owner[name]] = _write_camera(opened, owner[name])
            image = _write_image(opened, name, written[owner[name]])
            if name in places:
                prior = pycolmap.PosePrior(corr_data_id=image.data_id, position=np.array(places[name]))
                prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.WGS84
                opened.write_pose_prior(prior)


def _write_camera(database: Any, new: NewCamera) -> Any:
    """The pycolmap.Rig of one camera, a new one unless the database has it."""
    if new.number is not None:
        sensor = pycolmap.sensor_t(pycolmap.SensorType.CAMERA, new.number)
        return database.read_rig_with_sensor(sensor)
    focal = new.focal or GUESSED_FOCAL * max(new.size)
    camera = pycolmap.Camera.create_from_model_id(0, getattr(pycolmap.CameraModelId, new.model), focal, *new.size)
    if new.params is not None:
        camera.params = list(new.params)
    camera.has_prior_focal_length = new.focal is not None or new.params is not None
    camera.camera_id = database.write_camera(camera)
    rig = pycolmap.Rig()
    rig.add_ref_sensor(camera.sensor_id)
    rig.rig_id = database.write_rig(rig)
    return rig


def _write_image(database: Any, name: str, rig: Any) -> Any:
    """A new pycolmap.Image in a frame of its own."""
    image = pycolmap.Image(name=name, camera_id=rig.ref_sensor_id.id)
    image.image_id = database.write_image(image)
    frame = pycolmap.Frame()
    frame.rig_id = rig.rig_id
    frame.add_data_id(image.data_id)
    database.write_frame(frame)
    return image


def sensor_focal(path: Path) -> float | None:
    """The focal length in pixels by COLMAP's table of sensors, for a photo whose EXIF names its camera.

    None: the table lacks it, or COLMAP cannot read the photo.
    """
    bitmap = getattr(pycolmap, "Bitmap", None)
    if bitmap is None:
        return None
    with quiet(errors=False):
        read = bitmap.read(str(path), False)
    return None if read is None else read.exif_focal_length()


def verification(database: Path, threads: int, batch: int, seed: int, stop: StopFlag) -> None:
    """RANSAC on every pair of `matches` without a geometry, `batch` pairs to a transaction. Raises Interrupted."""
    options = pycolmap.GeometricVerifierOptions()
    options.num_threads = threads
    with quiet(errors=False):
        cancellable(stop, pycolmap.geometric_verification, database, options, _pairing(batch), _two_view(seed))


def guided_verification(model: Any, database: Path, threads: int, batch: int, seed: int, stop: StopFlag) -> None:
    """Verifies by the poses of a pycolmap.Reconstruction with the database's ids; RANSAC where a pose is missing.

    Raises Interrupted.
    """
    with quiet(errors=False):
        function = pycolmap.guided_geometric_verification
        cancellable(stop, function, model, database, _pairing(batch), _two_view(seed), threads)


def _pairing(batch: int) -> pycolmap.ExistingMatchedPairingOptions:
    pairing = pycolmap.ExistingMatchedPairingOptions()
    pairing.batch_size = batch
    return pairing


def _two_view(seed: int) -> pycolmap.TwoViewGeometryOptions:
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed
    return options


def read_model(folder: Path) -> Any:
    """A COLMAP model folder as a pycolmap.Reconstruction. Raises pycolmap's errors for any other folder."""
    with quiet(errors=False):
        return pycolmap.Reconstruction(str(folder))


def match_sift(database: Path, images: Path, names: Sequence[str], pairs: Path, side: int, seed: int) -> None:
    """COLMAP's own SIFT on the CPU in an existing database that holds the images: features, matches, geometries.

    pairs: a file with two names per line. side: the largest width or height at extraction, in pixels.
    """
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.max_image_size = side
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = str(pairs)
    with quiet():
        pycolmap.extract_features(
            database, images, list(names), extraction_options=extraction, device=pycolmap.Device.cpu
        )
        pycolmap.match_image_pairs(
            database, pairing_options=pairing, verification_options=_two_view(seed), device=pycolmap.Device.cpu
        )
