"""`astr bench pipeline`: the engine on a folder of photos, compared with a loop over pairs, SIFT and the least work."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from time import perf_counter, process_time

import torch

from astr_cli.bench.adaptive import measure_adaptive
from astr_cli.bench.least_work import LeastWork, measure_work
from astr_cli.bench.measuring import core_gflops, machine, peak_resident
from astr_cli.bench.pair_loop import Loop, LoopPair
from astr_cli.bench.records import (
    AdaptiveRun,
    BenchError,
    Floor,
    Machine,
    PipelineRun,
    PipelineSummary,
    RefinementRun,
)
from astr_cli.bench.refinement import measure_refinement
from astr_cli.evaluate.sift import SiftMatcher
from astr_cli.images.catalogue import find_images
from astr_cli.matching.resources.compute import resolve_compute
from astr_cli.matching.resources.stopwatch import Stopwatch
from astr_cli.matching.run.events import MatchSummary
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.bench import PipelineOptions
from astr_cli.options.matching import MatchOptions
from astr_cli.options.option import take
from astr_cli.pairs.reading import format_pair, read_pairs

Names = tuple[str, str]
Record = Machine | PipelineRun | RefinementRun | AdaptiveRun | Floor | PipelineSummary


def bench_pipeline(options: PipelineOptions) -> Iterator[Record]:
    """The machine, the runs, the floor, and the ratios. Raises AstrError for a request that cannot be run."""
    names = find_images(options.folder)[: options.max_images]
    pairs = choose_pairs(names, options.nearest) if options.pairs is None else _listed(options.pairs, names)
    if not pairs:
        raise BenchError(f"{options.folder}: contains only one photo; use a folder of two or more")
    with tempfile.TemporaryDirectory() as folder:
        files = {"pairs": Path(folder) / "pairs.txt", "out": Path(folder) / "matches.h5"}
        # The loop and the floor know no second look, and how many pairs have one depends on the photos.
        matching = take(MatchOptions, replace(options.matching, focus="off"), **files, images=options.folder)
        if options.adaptive_sample is not None:
            yield from measure_adaptive(matching, _spread(pairs, options.adaptive_sample))
            return
        compute = resolve_compute(matching)
        dtype = torch.bfloat16 if compute.precision == "bf16" else torch.float32
        rates = machine(compute.device, dtype)
        _engine(replace(matching, out=Path(folder) / "warm.h5"), pairs[:1])  # compiles what is compiled at first use
        engine = _engine(matching, pairs)
        refinement = measure_refinement(matching.out, options.folder, engine, Path(folder))
    loop, few = Loop(matching), _spread(pairs, options.sample)
    sampled = [loop.match(*names) for names in few]
    per_pair = _loop_run(loop, sampled, len(pairs))
    sift = _sift_run(options.folder, compute.long_side, few, pairs)
    # The better of two measurements: a machine busy during one of them would make the floor too easy.
    rates = _better(rates, machine(compute.device, dtype))
    yield rates
    yield engine
    if refinement is not None:
        yield refinement
    yield per_pair
    yield sift
    floor = _floor(measure_work(loop, few), rates, engine)
    yield floor
    yield _summary(engine, per_pair, sift, floor)


def choose_pairs(names: Sequence[str], nearest: int | None) -> list[Names]:
    """All pairs of the images, or those at most `nearest` apart in their order."""
    found = combinations(range(len(names)), 2)
    return [(names[a], names[b]) for a, b in found if nearest is None or b - a <= nearest]


def _listed(path: Path, names: Sequence[str]) -> list[Names]:
    """The pairs of a file. Raises BenchError for photos that are not among `names`."""
    pairs = [(pair.name0, pair.name1) for pair in read_pairs(path).pairs]
    missing = sorted({name for pair in pairs for name in pair} - set(names))
    if missing or not pairs:
        reason = f"{missing[0]} is not among the photos" if missing else "has no pairs"
        raise BenchError(f"{path}: {reason}; list pairs of photos of the folder")
    return pairs


def _spread(pairs: Sequence[Names], count: int) -> list[Names]:
    """So many of the pairs, at even distances."""
    count = min(count, len(pairs))
    return [pairs[index * len(pairs) // count] for index in range(count)]


def _engine(options: MatchOptions, pairs: Sequence[Names]) -> PipelineRun:
    options.pairs.write_text("".join(format_pair(*pair) + "\n" for pair in pairs), encoding="utf-8")
    compute = resolve_compute(options)
    stopwatch = Stopwatch(compute.device)
    summaries: list[MatchSummary] = []

    def run() -> None:
        summaries.append(match_pairs(options, stopwatch=stopwatch))

    start = process_time()
    memory = peak_resident(run, compute.device)
    core_seconds = process_time() - start
    summary = summaries[0]
    return PipelineRun(
        name="astr match",
        images=summary.images,
        pairs=summary.matched,
        measured_pairs=summary.matched,
        seconds=summary.seconds,
        core_seconds=core_seconds,
        backbone_runs=summary.cache_misses,
        matches=summary.matches / max(summary.matched, 1),
        host_megabytes=memory.host,
        device_megabytes=memory.device,
        at_once=compute.jobs,
        stages=stopwatch.seconds(),
    )


def _loop_run(loop: Loop, sampled: Sequence[LoopPair], pairs: int) -> PipelineRun:
    seconds = sum(pair.seconds for pair in sampled)
    return PipelineRun(
        name="one pair at a time",
        images=len({name for pair in sampled for name in pair.names}),
        pairs=pairs,
        measured_pairs=len(sampled),
        seconds=seconds / len(sampled) * pairs,
        core_seconds=sum(pair.core_seconds for pair in sampled) / len(sampled) * pairs,
        backbone_runs=2 * pairs,
        matches=sum(pair.matches for pair in sampled) / len(sampled),
        host_megabytes=None,
        device_megabytes=None,
        at_once=1,
        stages={stage: total / len(sampled) * pairs for stage, total in loop.stopwatch.seconds().items()},
    )


def _sift_run(folder: Path, long_side: int, few: Sequence[Names], pairs: Sequence[Names]) -> PipelineRun:
    """Features of each photo once, then pairs; both extrapolated from the sample."""
    matcher = SiftMatcher(folder, long_side)
    names = {name for pair in few for name in pair}
    start = perf_counter()
    for name in names:
        matcher.extract(name)
    extracted = perf_counter()
    matches = [len(matcher.match(*pair)) for pair in few]
    matched = perf_counter()
    images = len({name for pair in pairs for name in pair})
    per_image, per_pair = (extracted - start) / len(names), (matched - extracted) / len(few)
    return PipelineRun(
        name="OpenCV SIFT",
        images=images,
        pairs=len(pairs),
        measured_pairs=len(few),
        seconds=per_image * images + per_pair * len(pairs),
        core_seconds=None,
        backbone_runs=0,
        matches=sum(matches) / len(matches),
        host_megabytes=None,
        device_megabytes=None,
        at_once=1,
        stages={"detect": per_image * images, "match": per_pair * len(pairs)},
    )


def _better(first: Machine, second: Machine) -> Machine:
    return replace(
        first,
        matmul_gflops=max(first.matmul_gflops, second.matmul_gflops),
        copy_gigabytes=max(first.copy_gigabytes, second.copy_gigabytes),
    )


def _floor(work: LeastWork, rates: Machine, engine: PipelineRun) -> Floor:
    gflop = (engine.images * work.image_flops + engine.pairs * work.pair_flops) / 1e9
    gigabytes = (engine.images * work.image_bytes + engine.pairs * work.pair_bytes) / 1e9
    return Floor(
        image_gflop=work.image_flops / 1e9,
        pair_gflop=work.pair_flops / 1e9,
        gflop=gflop,
        gigabytes=gigabytes,
        seconds=gflop / rates.matmul_gflops + gigabytes / rates.copy_gigabytes,
        core_gflops=(core := core_gflops()),
        core_seconds=gflop / core,
    )


def _summary(engine: PipelineRun, loop: PipelineRun, sift: PipelineRun, floor: Floor) -> PipelineSummary:
    # An image takes part in 2 * pairs / images of them on average; all but one of its runs can be spared.
    on_cores = engine.core_seconds if engine.device_megabytes is None else None
    share = loop.stages["backbone"] / loop.seconds
    allowed = 1 / (1 - share * (1 - engine.images / (2 * engine.pairs)))
    return PipelineSummary(
        seconds_a_pair=engine.seconds / engine.pairs,
        over_floor=engine.seconds / floor.seconds,
        core_over_floor=on_cores / floor.core_seconds if on_cores else None,
        backbone_share=share,
        sharing_allows=allowed,
        speedup=loop.seconds / engine.seconds,
        core_speedup=loop.core_seconds / on_cores if on_cores and loop.core_seconds else None,
        of_sift=sift.seconds / engine.seconds,
        backbone_runs=engine.backbone_runs,
        least_backbone_runs=engine.images,
    )
