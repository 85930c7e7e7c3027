"""Random weights and procedural photos: everything here runs in seconds and needs nothing from outside."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image

from astr_cli.matching.run.events import Event
from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import save_weights
from astr_cli.model.config import PRESETS
from astr_cli.options.matching import MatchOptions
from astr_cli.scenes.textures import procedural_textures

T = TypeVar("T")
MakePhotos = Callable[..., list[str]]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the small preset: they match at threshold 0, if badly."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(path, Astr(PRESETS["astr-small"]), {})
    return path


@pytest.fixture(scope="session")
def texture() -> np.ndarray:
    """(256, 320) uint8 that photos are cut from."""
    pixels = procedural_textures(1, (256, 320), torch.Generator().manual_seed(1))[0, 0]
    return (pixels * 255).byte().numpy()


@pytest.fixture(scope="session")
def make_photos(texture: np.ndarray) -> MakePhotos:
    """make_photos(folder, count, size=(160, 128)) writes overlapping photos of one texture; returns their names."""

    def make(folder: Path, count: int, size: tuple[int, int] = (160, 128)) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"photo{index:02d}.png" for index in range(count)]
        for index, name in enumerate(names):
            x, y = 11 * index % (320 - size[0]), 7 * index % (256 - size[1])
            Image.fromarray(texture[y : y + size[1], x : x + size[0]]).save(folder / name)
        return names

    return make


@dataclass(frozen=True)
class Scene:
    """A folder with photos, all their pairs, and random weights: a run takes a second."""

    root: Path
    names: list[str]
    pairs: list[tuple[str, str]]
    weights: Path

    def options(self, out: str = "m.h5", **changes: Any) -> MatchOptions:
        """What the tests run by default."""
        settings: dict[str, Any] = {"long_side": 96, "threshold": 0.0, "device": "cpu", "weights": str(self.weights)}
        return MatchOptions(pairs=self.root / "pairs.txt", out=self.root / out, **{**settings, **changes})

    def arguments(self, out: str = "m.h5", *more: str) -> list[str]:
        """The same as a command line, after `astr`, with `more` in the place of options of the same name."""
        options = {"--out": str(self.root / out), "--weights": str(self.weights), "--long-side": "96"}
        options |= {"--threshold": "0", "--device": "cpu"}
        kept = (part for name, value in options.items() if name not in more for part in (name, value))
        return ["match", str(self.root / "pairs.txt"), *kept, *more]

    def write_pairs(self, pairs: list[tuple[str, str]]) -> None:
        """Replaces pairs.txt."""
        (self.root / "pairs.txt").write_text("".join(f"{name0} {name1}\n" for name0, name1 in pairs))

    def bytes(self, out: str = "m.h5") -> bytes:
        """The content of an output."""
        return (self.root / out).read_bytes()

    def journal(self, out: str = "m.h5") -> Path:
        """The journal's folder, there or not."""
        return self.root / f"{out}.journal"

    def segment(self, out: str = "m.h5") -> Path:
        """The journal's last segment file."""
        return sorted(self.journal(out).glob("*.seg"))[-1]


@pytest.fixture
def scene(tmp_path: Path, make_photos: MakePhotos, weights: Path) -> Scene:
    """Six photos, fifteen pairs."""
    names = make_photos(tmp_path, 6)
    made = Scene(tmp_path, names, list(combinations(names, 2)), weights)
    made.write_pairs(made.pairs)
    return made


class Recorder:
    """A listener that keeps every event, and calls `act` with each."""

    def __init__(self, act: Callable[[Event], None] = lambda event: None) -> None:
        self.events: list[Event] = []
        self._act = act

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._act(event)

    def of(self, kind: type[T]) -> list[T]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def recorder() -> type[Recorder]:
    """The class, as test modules cannot import from here."""
    return Recorder
