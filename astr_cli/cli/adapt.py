"""`astr adapt`: weights trained further on the photos of one place."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from astr_cli.options.adapt import AdaptOptions
from astr_cli.options.output import OutputOptions

if TYPE_CHECKING:
    from astr_cli.adapt.adapt import Adapted


def command(options: AdaptOptions, output: OutputOptions) -> int:
    """Train the weights further on your own photos, and keep them only if they match your photos better.

    astr makes a model of the photos, and trains on the points that are certain in it: seen in three photos or more,
    precise, and from directions that differ. One photo in five is held back. The old and the new weights then match
    pairs with these photos, and --out is written only if the new ones are better by more than the standard error.
    Training takes --minutes; the model and the comparison come on top.

    Examples:

    astr adapt photos/ --out castle.safetensors

    astr adapt photos/ --out castle.safetensors --minutes 240 --device cuda

    astr match pairs.txt --images photos/ --weights castle.safetensors --out matches.h5

    Exit codes: 0 = done, the weights are better; 2 = nothing was started; 3 = done, but they are no better, so nothing
    was written; 4 = stopped because disk or memory is full, 130 = stopped by a signal (the same command resumes).
    """
    from astr_cli.adapt.adapt import adapt
    from astr_cli.cli import console
    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.sfm_output import progress_line, stoppable

    with (
        stoppable(f"{options.folder}: stopped; run the same command again to resume") as stop,
        make_report(output.as_json, output.quiet) as report,
    ):
        found = adapt(options, report.event, progress_line(output.as_json, output.quiet), stop)
    if output.as_json:
        values = {"out": str(found.out), "written": found.written, "photos": found.photos, "steps": found.steps}
        console.json_line({"event": "adapted", **values, **asdict(found.decision)})
    elif not output.quiet:
        print("\n".join(_lines(found)))
    return 0 if found.written else 3


def _lines(found: Adapted) -> list[str]:
    decision = found.decision
    before, after = decision.before, decision.after
    verdict = "better: written" if found.written else "no better: nothing is written, keep the old weights"
    return [
        f"{decision.pairs} held-back pairs, old -> new weights ({found.steps} steps on {found.photos} photos):",
        f"  pose AUC@5/10/20  {_percents(before.auc5, before.auc10, before.auc20)} -> "
        f"{_percents(after.auc5, after.auc10, after.auc20)}  "
        f"(AUC@10 {100 * decision.auc.mean:+.1f} \u00b1 {100 * decision.auc.standard_error:.1f})",
        f"  precision         {_percents(before.precision)} -> {_percents(after.precision)}",
        f"  correct matches   {before.matches * before.precision:.0f} -> "
        f"{after.matches * after.precision:.0f} per pair  "
        f"({100 * decision.correct.mean:+.0f} \u00b1 {100 * decision.correct.standard_error:.0f}%)",
        f"{found.out}: {verdict}",
    ]


def _percents(*shares: float) -> str:
    return "/".join(f"{100 * share:.1f}" for share in shares)
