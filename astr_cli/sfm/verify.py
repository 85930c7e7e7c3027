"""Geometric verification by COLMAP."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from astr_cli.sfm.colmap import pycolmap, quiet

# A dense matcher returns hundreds of matches even for photos that share nothing; COLMAP's 15 inliers are found among
# that many by chance. One in ten is far above chance and below any pair that helps.
MIN_INLIER_RATIO = 0.1
SEED = 0
BATCH = 100  # pairs between two looks at Ctrl-C


class Verified(NamedTuple):
    """What verification left."""

    pairs: int  # with at least 15 inliers, the fewest that COLMAP maps with
    inliers: int  # of those pairs together


def verify(database: Path) -> Verified:
    """Verifies every pair of the database and writes its two-view geometry, with a config that is never undefined."""
    pairing = pycolmap.ExistingMatchedPairingOptions()
    pairing.batch_size = BATCH
    options = pycolmap.TwoViewGeometryOptions()
    options.min_inlier_ratio = MIN_INLIER_RATIO
    options.ransac.random_seed = SEED
    with quiet(errors=False):
        pycolmap.geometric_verification(database, pairing_options=pairing, two_view_geometry_options=options)
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT COUNT(*), COALESCE(SUM(rows), 0) FROM two_view_geometries WHERE config > 1 AND rows >= ?"
        return Verified(*connection.execute(query, (options.min_num_inliers,)).fetchone())
