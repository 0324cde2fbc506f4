"""nsx audit FILE: read, audit, show, write."""

from __future__ import annotations

import argparse
import json

import jax
import matplotlib
from rich.console import Console
from rich.progress import Progress

from nsx._command import _files, _show
from nsx.audit import audit, proposal

DEFAULTS = ("uniform", "in-batch", "ann:0.9")


def run(options: argparse.Namespace) -> int:
    """The whole command; raises ValueError or TypeError where the input is wrong."""
    matplotlib.use("Agg")
    console = Console()
    arrays = _files.read(options.file)
    problem, weights = _files.to_problem(arrays, cosine=not options.dot and "scores" not in arrays)
    build = {"num_negatives": options.negatives[-1], "temperature": options.temperature, "weights": weights}
    proposals = [proposal(name, problem, **build) for name in options.proposal or DEFAULTS]
    options.out.mkdir(parents=True, exist_ok=True)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("anchors", total=None)
        found = audit(
            jax.random.key(options.seed),
            problem,
            proposals,
            temperature=options.temperature,
            num_negatives=options.negatives,
            loss=options.loss,
            hard_share=options.hard,
            replicates=options.replicates,
            max_anchors=options.anchors,
            batch_size=options.batch,
            target_entropy=options.entropy,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(*_show.tables(found), sep="\n")
    for row in found.proposals:
        console.print(f"[bold]{row.name}[/bold]: {row.verdict}")
    console.print(f"[bold]best[/bold]: {found.recommendation}")
    if found.temperature_for_entropy is not None:
        console.print(f"temperature for {options.entropy:g} nats: {found.temperature_for_entropy:.4g}")
    (options.out / "audit.json").write_text(json.dumps(_files.to_json(found), indent=1) + "\n", encoding="utf-8")
    _show.figure(found, options.out / "audit.png")
    console.print(f"written: {options.out / 'audit.json'} and audit.png")
    return 0
