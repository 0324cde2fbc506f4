"""nsx audit FILE: read, audit, show, write."""

from __future__ import annotations

import argparse
import json
from typing import NamedTuple

import jax
import matplotlib
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from nsx._command import _files, _show
from nsx._command._errors import blame, blame_disk
from nsx._command._write import replacing, require_writable
from nsx.audit import Problem, Proposal, Report, audit, describe, named_proposal

USUAL_PROPOSALS = ("uniform", "in-batch", "ann:0.9")
USUAL_K = (1, 4, 16, 64)
WRITTEN = ("audit.json", "audit.png")


class Choice(NamedTuple):
    """What is compared: numbers of negatives, proposals, and what was decided for the user, in words."""

    k: tuple[int, ...]
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]


def run(options: argparse.Namespace) -> int:
    """The whole command; raises Refused where the input is wrong."""
    matplotlib.use("Agg")
    console = Console()
    with blame_disk(f"--out {options.out}"):
        require_writable(options.out, WRITTEN)
    asked = options.proposal or []
    with blame(options.file.name):
        weights = [name.partition(":")[2] for name in asked if name.startswith("weights:")]
        contents = _files.read(options.file, scores=options.scores, weights=weights)
        problem = _files.to_problem(contents.arrays, cosine=not options.dot and "scores" not in contents.arrays)
    choice = choose(options, problem, contents.weights)
    console.print(f"{escape(options.file.name)}: {describe(problem)}", soft_wrap=True, highlight=False)
    if contents.unused:
        console.print(f"not used: {escape(', '.join(contents.unused))}", highlight=False)
    for note in choice.notes:
        console.print(escape(note), highlight=False)
    with blame(options.file.name):
        report = look(options, problem, choice, console)
    say(report, options.entropy, console)
    with blame_disk(f"--out {options.out}"):
        write(report, options)
    console.print(f"written: {escape(str(options.out / 'audit.json'))} and audit.png", highlight=False)
    return 0


def choose(options: argparse.Namespace, problem: Problem, weights: dict) -> Choice:
    """Numbers of negatives and proposals: those asked for, or the usual ones as far as the candidates go."""
    size = len(problem.candidates)
    notes = []
    k = tuple(options.k or ())
    with blame("--negatives"):
        if list(k) != sorted(set(k)):
            raise ValueError(f"the numbers must ascend, got {' '.join(str(number) for number in k)}.")
    if not k:
        k = tuple(number for number in USUAL_K if 2 * number <= size) or USUAL_K[:1]
        if k != USUAL_K:
            numbers = ", ".join(str(number) for number in k)
            notes.append(f"k = {numbers}: those of the usual 1, 4, 16, 64 up to half of the {size} candidates")

    def build(name: str) -> Proposal:
        """One proposal."""
        return named_proposal(name, problem, k=k[-1], temperature=options.temperature, weights=weights)

    if options.proposal:
        with blame("--proposal"):
            return Choice(k, tuple(build(name) for name in options.proposal), tuple(notes))
    proposals = []
    for name in USUAL_PROPOSALS:
        try:
            proposals.append(build(name))
        except ValueError as error:  # an index cannot miss one in ten of k where k is nearly all there are
            notes.append(f"without {name}: {error}")
    return Choice(k, tuple(proposals), tuple(notes))


def look(options: argparse.Namespace, problem: Problem, choice: Choice, console: Console) -> Report:
    """The audit, with a bar that shows how far it is."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("pairs", total=None)

        def progress(done: int, total: int) -> None:
            """Move the bar."""
            bar.update(task, completed=done, total=total)

        return audit(
            jax.random.key(options.seed),
            problem,
            choice.proposals,
            temperature=options.temperature,
            k=choice.k,
            loss=options.loss,
            hard_share=options.hard,
            replicates=options.replicates,
            max_pairs=options.anchors,
            batch_size=options.batch,
            target_entropy=options.entropy,
            progress=progress,
        )


def say(report: Report, target_entropy: float | None, console: Console) -> None:
    """The tables and the verdicts."""
    console.print(*_show.tables(report), sep="\n")
    for name, text, _ in _show.verdicts(report):
        console.print(f"[bold]{escape(name)}[/bold]: {escape(text)}", highlight=False)
    if target_entropy is None:
        return
    if report.temperature_for_entropy is None:
        console.print(f"no pair's softmax has {target_entropy:g} nats at any temperature: its scores are equal")
    else:
        console.print(f"temperature for {target_entropy:g} nats: {report.temperature_for_entropy:.4g}")


def write(report: Report, options: argparse.Namespace) -> None:
    """Both files, each whole or not there."""
    with replacing(options.out / "audit.json") as path:
        text = json.dumps(_files.to_json(report), indent=1, allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
    with replacing(options.out / "audit.png") as path:
        _show.figure(report, path)
