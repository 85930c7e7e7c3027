"""The refinement of tracks on the original pixels, beside the matching of the same pairs."""

from contextlib import closing
from pathlib import Path
from time import perf_counter, process_time

import torch

from astr_cli.bench.measuring import peak_resident
from astr_cli.bench.records import PipelineRun, RefinementRun
from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.sfm.tracks.refinement import KeptSteps, PhotoPixels, Refinement, TrackRefiner, worth_refining
from astr_cli.store.matches_file import MatchesFile


def measure_refinement(matches: Path, images: Path, matching: PipelineRun, scratch: Path) -> RefinementRun | None:
    """Builds the tracks of a matches.h5 and refines them as `astr colmap-import` does, on one thread.

    matching: the run that made the file. None: the photos are hardly larger than their matched size, so that astr would
    not refine them.
    """
    with MatchesFile(matches) as file, closing(StoredRows(file)) as rows:
        if not worth_refining(rows.images):
            return None
        tracks = build_tracks(rows)
        found = rows.images
    refiner = TrackRefiner(found, PhotoPixels(images, found, None), "mixed")
    kept = KeptSteps(scratch / "refinement", "")
    done: list[Refinement] = []
    start, core_start = perf_counter(), process_time()
    memory = peak_resident(lambda: done.append(refiner.refine(tracks, kept)), torch.device("cpu"))
    core_seconds = process_time() - core_start
    summary = done[0].summary
    return RefinementRun(
        images=len(found),
        keypoints=len(tracks.image),
        refined=summary.refined,
        seconds=perf_counter() - start,
        core_seconds=core_seconds,
        of_matching=core_seconds / matching.core_seconds if matching.core_seconds else None,
        host_megabytes=memory.host,
    )
