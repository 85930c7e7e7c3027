"""Pairs: by COLMAP's generators, limited, united, written, and how they hang together."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.errors import AstrError
from astr_cli.images.info import ImageInfo
from astr_cli.matching.photos import loader
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import map_database
from astr_cli.sfm.pairs import generators as pair_generators
from astr_cli.sfm.pairs.generators import covisible, exhaustive, natural_order, sequential, spatial
from astr_cli.sfm.pairs.retrieval import describe, retrieval

NAMES = tuple(f"img{number}.jpg" for number in range(12))
DRONE = Path(__file__).parents[3] / "shared" / "data" / "scenes" / "brighton-drone" / "images"


def offsets(pairs: list[tuple[str, str]]) -> set[int]:
    """How far apart the two of each pair are in NAMES."""
    return {NAMES.index(b) - NAMES.index(a) for a, b in pairs}


def test_exhaustive_is_every_pair_once_nearest_first() -> None:
    pairs = exhaustive(NAMES).pairs
    assert sorted(pairs) == sorted(itertools.combinations(NAMES, 2))
    distances = [NAMES.index(b) - NAMES.index(a) for a, b in pairs]
    assert distances == sorted(distances)
    with pytest.raises(AstrError, match="2000 photos make 1999000 pairs"):
        exhaustive([str(number) for number in range(2000)])


def test_sequential_follows_the_order_given() -> None:
    pairs = sequential(NAMES, 3, quadratic=False).pairs
    assert offsets(pairs) == {1, 2, 3}
    assert len(pairs) == 11 + 10 + 9
    assert offsets(sequential(NAMES, 4, quadratic=True).pairs) >= {1, 2, 4, 8}
    turned = NAMES[::-1]
    assert sequential(turned, 1, quadratic=False).pairs == list(itertools.pairwise(turned))
    assert len(sequential(NAMES, 500, quadratic=False).pairs) == 66


def test_numbers_in_names_count_by_value() -> None:
    assert natural_order(["img10.jpg", "b/2.jpg", "img2.jpg", "b/10.jpg", "IMG3.jpg", "7", "07", "é"]) == [
        "07",
        "7",
        "b/2.jpg",
        "b/10.jpg",
        "img2.jpg",
        "IMG3.jpg",
        "img10.jpg",
        "é",
    ]


def write_gps(path: Path, east: float, north: float) -> None:
    """A photo taken so many metres from a place near the equator."""

    def degrees(metres: float) -> tuple[float, float, float]:
        value = 1 + metres / 111_320
        return float(int(value)), float(int(value * 60 % 60)), value * 3600 % 60

    exif = Image.Exif()
    place = {1: "N", 2: degrees(north), 3: "E", 4: degrees(east), 5: b"\x00", 6: 100.0}
    exif.get_ifd(0x8825).update(place)
    Image.new("L", (64, 48)).save(path, exif=exif)


def test_spatial_takes_the_nearest(tmp_path: Path) -> None:
    places = {"a.jpg": (0, 0), "b.jpg": (20, 0), "c.jpg": (50, 0), "d.jpg": (50, 70), "far.jpg": (5000, 0)}
    for name, place in places.items():
        write_gps(tmp_path / name, *place)
    Image.new("L", (64, 48)).save(tmp_path / "nowhere.jpg")
    names = [*places, "nowhere.jpg"]
    found = spatial(tmp_path, names, 1, 100.0, True)
    assert found.pairs == [("a.jpg", "b.jpg"), ("b.jpg", "c.jpg"), ("c.jpg", "d.jpg")]
    assert found.warnings == ("1 of 6 photos have no GPS position (for example nowhere.jpg) and are in no pair",)
    assert ("a.jpg", "c.jpg") in spatial(tmp_path, names, 5, 100.0, True).pairs
    assert spatial(tmp_path, names, 5, 40.0, True).pairs == [("a.jpg", "b.jpg"), ("b.jpg", "c.jpg")]
    with pytest.raises(AstrError, match=r"1 of 2 photos have .* retrieval or sequential"):
        spatial(tmp_path, ["a.jpg", "nowhere.jpg"], 5, 100.0, True)


@pytest.mark.skipif(not DRONE.is_dir(), reason="../shared/data is not here")
def test_spatial_on_a_strip_of_drone_photos() -> None:
    names = sorted(path.name for path in DRONE.iterdir())
    found = spatial(DRONE, names, 2, 100.0, True)
    assert set(itertools.pairwise(names)) <= set(found.pairs)
    assert found.warnings == ()


def test_covisible_is_what_the_model_shares(workplace: Path, scene: Any) -> None:
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    model = map_database(workplace / "db.db", workplace / "photos", workplace).folder
    names, found = covisible(model, 100)
    assert names == sorted(scene.names)
    assert len(found.pairs) == 15
    # The photos stand on an arc: each shares most with the ones beside it.
    ends = [abs(scene.names.index(a) - scene.names.index(b)) for a, b in found.pairs]
    assert set(ends[:3]) == {1}
    assert ends[-1] >= 4
    near = covisible(model, 1)[1].pairs
    assert len(near) < 6
    assert found.pairs[0] in near
    with pytest.raises(AstrError, match="share 1000000 points"):
        covisible(model, 5, 1_000_000)
    with pytest.raises(AstrError, match="not a readable COLMAP model"):
        covisible(workplace, 5)


def features(place: int) -> np.ndarray:
    """(100, 16) unit features of a photo that sees landmarks 20 * place to 20 * place + 99 of one long wall."""
    landmarks = np.random.default_rng(0).normal(0, 1, (300, 16))[20 * place : 20 * place + 100]
    rows = landmarks + np.random.default_rng(1 + place).normal(0, 0.1, landmarks.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_descriptors_tell_near_from_far_and_are_the_same_again() -> None:
    names = [str(number) for number in range(10)]
    known = {name: features(int(name)) for name in names}

    def extract(asked: Sequence[str]) -> Iterator[np.ndarray]:
        return map(known.__getitem__, asked)

    descriptors = describe(names, extract)
    assert descriptors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)
    similarity = descriptors @ descriptors.T
    assert all(similarity[n, n + 1] > similarity[n, (n + 5) % 10] for n in range(9))
    assert (describe(names, extract) == descriptors).all()
    proposal = pair_generators.ranked_by_similarity(names, descriptors, 2)
    assert len({frozenset(pair) for pair in proposal.pairs}) == len(proposal.pairs)
    assert set(itertools.pairwise(names)) - set(proposal.pairs) == set()


def test_similar_photos_by_blocks_are_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_generators, "BLOCK", 7)
    names = [f"{number:02d}" for number in range(30)]
    descriptors = np.random.default_rng(0).integers(-9, 10, (30, 12)).astype(np.float32)  # exact products, with ties
    similarity = descriptors @ descriptors.T
    np.fill_diagonal(similarity, -np.inf)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :4]
    found = {(min(a, b), max(a, b)): -similarity[a, b] for a in range(30) for b in best[a]}
    expected = sorted(found, key=lambda pair: (found[pair], pair))
    proposal = pair_generators.ranked_by_similarity(names, descriptors, 4)
    assert proposal.pairs == [(names[a], names[b]) for a, b in expected]


@pytest.mark.parametrize("sampled", [3, 128])
def test_more_photos_than_the_vocabulary_is_learned_from(sampled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(number) for number in range(10)]
    monkeypatch.setattr("astr_cli.sfm.pairs.retrieval.SAMPLED_PHOTOS", sampled)
    asked: list[str] = []

    def extract(some: Sequence[str]) -> Iterator[np.ndarray]:
        for name in some:
            asked.append(name)
            yield features(int(name))

    descriptors = describe(names, extract)
    assert sorted(asked) == names
    similarity = descriptors @ descriptors.T
    assert all(similarity[n, n + 1] > similarity[n, (n + 5) % 10] for n in range(9))


def test_retrieval_finds_photos_of_one_wall(write_walls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shipped weights: three photos each of three textures; decoded ahead, each once."""
    names = sorted(path.name for path in write_walls.iterdir())
    real = loader.load_image
    decoded: list[tuple[str, str]] = []

    def load(info: ImageInfo, *rest: Any) -> np.ndarray:
        decoded.append((info.name, threading.current_thread().name.rpartition("_")[0]))
        return real(info, *rest)

    monkeypatch.setattr(loader, "load_image", load)
    proposal = retrieval(write_walls, names, 2, device="cpu")
    assert len(proposal.pairs) == 9
    assert sorted(decoded) == [(name, "astr-decode") for name in names]
    assert all(a[0] == b[0] for a, b in proposal.pairs)
    with pytest.raises(AstrError, match=r"gone\.png"):
        retrieval(write_walls, [*names, "gone.png"], 2, device="cpu")


@pytest.fixture(scope="module")
def write_walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine photos: shifted views of three textures."""
    folder = tmp_path_factory.mktemp("walls")
    for wall in range(3):
        random = np.random.default_rng(wall)
        texture = np.zeros((320, 420))
        for size in (4, 16, 64):
            coarse = random.random((320 // size + 1, 420 // size + 1)) * (1 + wall * (size == 4))
            texture += np.kron(coarse, np.ones((size, size)))[:320, :420]
        pixels = (255 * texture / texture.max()).astype(np.uint8)
        for view in range(3):
            Image.fromarray(pixels[:, 40 * view : 40 * view + 320]).save(folder / f"{wall}-{view}.png")
    return folder
