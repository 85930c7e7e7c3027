"""summary.json of an extended reconstruction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from astr_cli.sfm.database.cameras import held_by
from astr_cli.sfm.extension.models import Extended
from astr_cli.sfm.mapping.pair_agreement import doubtful_pairs
from astr_cli.sfm.reconstruction.summary import pair_record, plain


def extended_text(record: Mapping[str, Any], extended: Extended, pairs: int, database: Path) -> str:
    """The text of the new summary.json from the content of the old one; pairs: new ones.

    It has no key of a mapping: a later `astr reconstruct` maps again.
    """
    held = held_by(database)._asdict()
    counts = {"images_held": held["images"], "keypoints_held": held["keypoints"], "cameras": held["cameras"]}
    counts |= {"images": held["images"], "known_focals": held["known_focals"]}
    made = {
        **record,
        "pairs": {**record["pairs"], "pairs": record["pairs"]["pairs"] + pairs},
        "database": {**record["database"], **counts},
        "mapping_key": "",
        "model": plain(asdict(extended.summary)),
        "doubtful": [[pair.name0, pair.name1] for pair in doubtful_pairs(extended.figures)],
        "image_pairs": [pair_record(pair) for pair in extended.figures],
    }
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"
