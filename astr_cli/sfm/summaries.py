"""summary.json: what a reconstruction came to, for programs to read, and for the next call to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from astr_cli.sfm.camera_figures import CameraFigures
from astr_cli.sfm.georeference import Georeference
from astr_cli.sfm.mapping import ModelSummary
from astr_cli.sfm.pair_figures import PairFigures, doubtful_pairs

if TYPE_CHECKING:
    from astr_cli.sfm.importing import ImportSummary
    from astr_cli.sfm.reconstruct import ReconstructSummary

FORMAT = 1


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
    """The whole file. mapping_key: what `read_model_record` shall ask for."""
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
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["format"] != FORMAT or record["mapping_key"] != mapping_key:
            return None
        model = record["model"]
        place = model["georeference"]
        found = ModelSummary(
            folder=folder,
            images=int(model["images"]),
            registered=tuple(model["registered"]),
            missing=tuple(model["missing"]),
            points=int(model["points"]),
            mean_track=float(model["mean_track"]),
            reprojection_error=float(model["reprojection_error"]),
            models=int(model["models"]),
            georeference=Georeference(**place) if place is not None else None,
            cameras=tuple(CameraFigures(**camera) for camera in model["cameras"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all((folder.parent / str(number) / "points3D.bin").is_file() for number in range(found.models))
    return found if whole else None


def _json_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple) and not hasattr(value, "_asdict"):
        return [_json_value(each) for each in value]
    return plain(value._asdict()) if hasattr(value, "_asdict") else value
