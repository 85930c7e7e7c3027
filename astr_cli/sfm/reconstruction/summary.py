"""summary.json: the results of `astr reconstruct`, and the model of an earlier call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from astr_cli.files import parse_json
from astr_cli.matching.run.events import MatchSummary
from astr_cli.sfm.database.importing import ImportSummary
from astr_cli.sfm.mapping.camera_changes import CameraFigures, Hold
from astr_cli.sfm.mapping.camera_models import ModelChoice
from astr_cli.sfm.mapping.control_adjustment import control_of
from astr_cli.sfm.mapping.georeference import georeference_of
from astr_cli.sfm.mapping.heights import Heights
from astr_cli.sfm.mapping.mapper import ModelSummary
from astr_cli.sfm.mapping.pair_agreement import PairFigures, doubtful_pairs
from astr_cli.sfm.mapping.precision import precision_of
from astr_cli.sfm.mapping.unregistered import Join, Unregistered
from astr_cli.sfm.pairs.automatic import Chosen
from astr_cli.sfm.repeats.finding import Repeat

FORMAT = 1


@dataclass(frozen=True)
class ReconstructSummary:
    """The results of the steps."""

    pairs: Chosen
    matching: MatchSummary
    database: ImportSummary
    model: ModelSummary
    figures: tuple[PairFigures, ...]
    """Every pair with matches."""
    skipped: tuple[str, ...]
    """The reasons why photos were left out as unusable, one line each."""
    file: Path
    """The summary as JSON."""


def plain(record: Mapping[str, object]) -> dict[str, object]:
    """The record with paths as text and named tuples as objects, ready for JSON."""
    return {name: _json_value(value) for name, value in record.items()}


def database_record(summary: ImportSummary) -> dict[str, object]:
    """An import's summary."""
    return {**plain(asdict(summary)), "two_view_share": summary.two_view_share}


def pair_record(pair: PairFigures) -> dict[str, object]:
    """One pair of images."""
    return {**pair._asdict(), "ratio": pair.ratio, "doubtful": pair.doubtful}


def summary_text(summary: ReconstructSummary, mapping_key: str) -> str:
    """The text of summary.json. mapping_key: the key for `read_model_record`."""
    matching = plain(asdict(summary.matching))
    record = {
        "format": FORMAT,
        "pairs": {"method": summary.pairs.method, "pairs": len(summary.pairs.pairs)},
        "skipped": list(summary.skipped),
        "matching": {name: matching[name] for name in ("out", "pairs", "images", "failed")},
        "database": database_record(summary.database),
        "mapping_key": mapping_key,
        "model": plain(asdict(summary.model)),
        "doubtful": [[pair.name0, pair.name1] for pair in doubtful_pairs(summary.figures)],
        "image_pairs": [pair_record(pair) for pair in summary.figures],
    }
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"


def read_model_record(file: Path, mapping_key: str, folder: Path) -> ModelSummary | None:
    """The model of an earlier call with that key, if it is still in `folder`; None without one."""
    try:
        record = parse_json(file.read_bytes())
        if record["format"] != FORMAT or record["mapping_key"] != mapping_key:
            return None
        found = model_of(record["model"], folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all((folder.parent / str(number) / "points3D.bin").is_file() for number in range(found.models))
    return found if whole else None


def model_of(model: Mapping[str, Any], folder: Path) -> ModelSummary:
    """The model of summary.json. Raises KeyError, TypeError or ValueError: not as this astr writes it."""
    return ModelSummary(
        folder=folder,
        images=int(model["images"]),
        registered=tuple(model["registered"]),
        missing=tuple(model["missing"]),
        points=int(model["points"]),
        mean_track=float(model["mean_track"]),
        reprojection_error=float(model["reprojection_error"]),
        models=int(model["models"]),
        georeference=georeference_of(model["georeference"]),
        cameras=tuple(CameraFigures(**{**each, "hold": Hold(**each["hold"])}) for each in model["cameras"]),
        unregistered=tuple(Unregistered(**photo) for photo in model["unregistered"]),
        camera_model=ModelChoice(**model["camera_model"]) if model["camera_model"] is not None else None,
        precision=precision_of(model["precision"]),
        joins=tuple(
            Join(each["model"], each["photos"], tuple((a, b, int(n)) for a, b, n in each["pairs"]))
            for each in model.get("joins", ())
        ),
        repeats=None if model["repeats"] is None else tuple(Repeat(**each) for each in model["repeats"]),
        control=control_of(model["control"]),
        control_problem=str(model["control_problem"]),
        heights=Heights(**model["heights"]) if model["heights"] is not None else None,
    )


def _json_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple) and not hasattr(value, "_asdict"):
        return [_json_value(each) for each in value]
    return plain(value._asdict()) if hasattr(value, "_asdict") else value
