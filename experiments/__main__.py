"""Command line: python -m experiments list | run | new | draw | report | check | fetch | vectors."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fnmatch
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments import _claim, _report

CONSOLE = Console(stderr=False, highlight=False)
HELP_AGAIN = (
    "compute all; else results made here from the same code, data, size, seed, precision, devices and versions are "
    "up to date, and only judged again"
)
HELP_DEVICES = "spread replicates over so many devices, or 'all'; a CPU is cut into so many (all: one a core)"
COLOUR = {"supported": "green", "conditional": "yellow", "refuted": "red", "undecided": "dim", "": "dim"}


def select(patterns: list[str]) -> list[str]:
    """The claims that names and globs stand for, in the order of the registry; exits 2 on an unknown one."""
    known = list(_claim.claims())
    chosen: set[str] = set()
    for pattern in patterns or ["*"]:
        hits = fnmatch.filter(known, "*" if pattern == "all" else pattern)
        if not hits:
            near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
            hint = f" Did you mean {', '.join(near)}?" if near else " See: python -m experiments list"
            CONSOLE.print(f"[red]no claim is called {pattern!r}.[/]{hint}", soft_wrap=True)
            raise SystemExit(2)
        chosen.update(hits)
    return [slug for slug in known if slug in chosen]


def command_list(_: argparse.Namespace) -> int:
    """Claims with their last verdicts."""
    results = _report.read_results()
    claims = _report.described()
    longest = max(map(len, claims))
    for slug, claim in claims.items():
        last = results.get(slug, {}).get("verdict", "")
        line = Text.assemble(f"{slug:<{longest}}  ", (f"{last or 'not run':<11}", COLOUR[last]), f"  {claim.statement}")
        line.truncate(CONSOLE.width, overflow="ellipsis")
        CONSOLE.print(line, no_wrap=True)
    return 0


def command_new(args: argparse.Namespace) -> int:
    """Write the skeleton of a claim, to be filled in."""
    from experiments._files import write_atomically
    from experiments._runner import skeleton

    path = _claim.ROOT / "experiments" / args.group / f"{args.claim}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", args.claim):
        CONSOLE.print(f"[red]{args.claim!r} is no name for a claim:[/] small letters, digits and underscores.")
        return 2
    if args.claim in _claim.claims():
        CONSOLE.print(f"[red]{args.claim} is there already:[/] {_claim.claims()[args.claim].relative_to(_claim.ROOT)}")
        return 2
    write_atomically(path, skeleton.TEXT.encode())
    CONSOLE.print(f"wrote {path.relative_to(_claim.ROOT)}; now: python -m experiments run --size quick {args.claim}")
    return 0


def command_run(args: argparse.Namespace) -> int:
    """Run claims with a progress bar, then a table of verdicts; 1 if anything is not as expected."""
    import jax

    from experiments import _compiled, _devices, _run

    _compiled.keep()
    jax.config.update("jax_enable_x64", args.precision == 64)
    try:
        _devices.use(args.devices)
    except ValueError as error:
        CONSOLE.print(f"[red]--devices:[/] {error}", soft_wrap=True)
        return 2
    slugs = select(args.claims)
    outcomes = []
    stopped = 0
    _run.require_writable(args.out)
    with progress_bar() as bar:
        task = bar.add_task(slugs[0], total=len(slugs))
        options = {"size": args.size, "seed": args.seed, "out": args.out, "again": args.again}
        runs = _run.run_all(slugs, warn=bar.console.print, **options)
        try:
            for outcome in runs:
                outcomes.append(outcome)
                bar.update(task, advance=1, description=slugs[min(len(outcomes), len(slugs) - 1)])
                if not bar.console.is_terminal:
                    bar.console.print(f"{outcome.slug}: {outcome.verdict or 'crashed'} ({cost(outcome)})")
        except KeyboardInterrupt as stop:
            stopped = status_of(stop)
    close_run(outcomes, args.out, interrupted=bool(stopped))
    return stopped or int(any(o.problems for o in outcomes))


def progress_bar() -> progress.Progress:
    """Which claim, how many are done, and the time."""
    text, done = progress.TextColumn, (progress.BarColumn(), progress.MofNCompleteColumn())
    times = (text("elapsed"), progress.TimeElapsedColumn(), text("remaining"), progress.TimeRemainingColumn())
    return progress.Progress(text("{task.description:<24}"), *done, *times, console=CONSOLE, speed_estimate_period=3600)


def cost(outcome: Any) -> str:
    """What a claim took."""
    return "up to date" if outcome.up_to_date else f"{outcome.seconds:.1f} s"


def close_run(outcomes: list, out: Path, interrupted: bool) -> None:
    """Print the closing table and what went wrong."""
    grid = Table("claim", "verdict", "checks", "controls", "took")
    for o in outcomes:
        checks = f"{sum(c.passed for c in o.checks)} of {len(o.checks)}"
        verdict = f"[{COLOUR[o.verdict]}]{o.verdict or 'crashed'}[/]"
        grid.add_row(o.slug, verdict, checks, str(len(o.audit.failed)) if o.audit else "", cost(o))
    CONSOLE.print(grid)
    for o in outcomes:
        if o.error:
            CONSOLE.print(o.trace, style="dim", markup=False)
        for problem in o.problems:
            CONSOLE.print(f"[red]{o.slug}:[/] ", end="")
            CONSOLE.print(problem, markup=False, soft_wrap=True)
    stands = sum(not o.problems for o in outcomes)
    CONSOLE.print(f"{stands} of {len(outcomes)} claims as expected; results in {os.path.relpath(out)}")
    if interrupted:
        CONSOLE.print("[red]interrupted[/]: what is listed above is complete; run again for the rest.")


def command_draw(args: argparse.Namespace) -> int:
    """Draw figures again from the saved data, without computing anything; 1 where the data are not the result's."""
    from experiments import _run

    results = _report.read_results(args.out)
    failed = False
    for slug in select(args.claims):
        if slug in results:
            try:
                content = (args.out / f"{slug}.npz").read_bytes()
                _run.draw(args.out, slug, _claim.load(slug), content, results[slug])
                CONSOLE.print(f"drew {slug}")
            except Exception as error:  # missing, another's, or of an older claim: say so, and go on
                CONSOLE.print(f"{slug} is not drawn: {error}", style="red", markup=False, soft_wrap=True)
                failed = True
    return int(failed)


def command_report(_: argparse.Namespace) -> int:
    """Rewrite paper_repro.md from the results."""
    from experiments._files import write_atomically

    write_atomically(_report.REPORT, _report.compose().encode())
    CONSOLE.print(f"wrote {_report.REPORT.name}")
    return 0


def command_check(_: argparse.Namespace) -> int:
    """Judge the committed data again; 1 where results, report and figures disagree."""
    found = list(_report.disagreements())
    for line in found:
        CONSOLE.print(line, style="red", markup=False, soft_wrap=True)
    CONSOLE.print(f"{len(_report.read_results())} results checked, {len(found)} disagreements")
    return int(bool(found))


def command_fetch(args: argparse.Namespace) -> int:
    """Fetch the real data into the user's cache."""
    from experiments import data

    try:
        data.fetch(args.sources or None)
    except (data.FetchFailed, ValueError) as error:
        CONSOLE.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def command_vectors(args: argparse.Namespace) -> int:
    """Train word vectors on a corpus and write them for python -m nsx audit."""
    import numpy as np

    from experiments import _vectors, data
    from experiments._files import write_atomically

    try:
        text = data.corpus(args.corpus, min_count=20)
    except (data.DataError, ValueError) as error:
        CONSOLE.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    with CONSOLE.status(f"training on {text.ids.size:,} words, about a minute"):
        arrays = _vectors.pairs(text, seed=args.seed, dimension=64)
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomically(args.file, content.getvalue())
    CONSOLE.print(f"wrote {args.file.name}; now: python -m nsx audit {args.file.name}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser("python -m experiments", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        sub = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        if name in ("run", "draw"):
            sub.add_argument("claims", nargs="*", metavar="CLAIM", help="names or globs; none or 'all' means all")
        if name == "new":
            sub.add_argument("claim", metavar="CLAIM", help="its name: small letters and underscores")
            sub.add_argument("--group", choices=_claim.GROUPS, default="contrast", help="the folder (contrast)")
        if name == "draw":
            sub.add_argument("--out", type=Path, default=_report.FIGURES, help="folder of the results")
        if name == "run":
            sub.add_argument("--size", choices=("quick", "full", "long", "device"), default="full")
            sub.add_argument("--seed", type=int, default=0)
            sub.add_argument("--precision", type=int, choices=(32, 64), default=64)
            sub.add_argument("--again", action="store_true", help=HELP_AGAIN)
            sub.add_argument("--devices", type=devices, default=1, metavar="N", help=HELP_DEVICES)
            sub.add_argument("--out", type=Path, help="folder of the results (figures/ at full size and 64 bits)")
        if name == "fetch":
            sub.add_argument("sources", nargs="*", metavar="SOURCE", help="names of sources; none fetches all")
        if name == "vectors":
            sub.add_argument("file", type=Path, help="the .npz to write")
            sub.add_argument("--corpus", default="shakespeare", help="shakespeare, glosses, gutenberg or library")
            sub.add_argument("--seed", type=int, default=0)
    return top


def devices(text: str) -> int | None:
    """The argument of --devices: a number, or None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a positive number nor 'all'")
    return int(text)


def default_out(args: argparse.Namespace) -> Path:
    """Only the default run writes to the committed folder."""
    if args.size in ("long", "device"):
        return _report.FIGURES / args.size
    if args.size == "full" and args.precision == 64 and args.seed == 0 and args.devices == 1:
        return _report.FIGURES
    shared = "" if args.devices == 1 else f"-devices-{args.devices or 'all'}"
    return _claim.ROOT / "results" / f"{args.size}-{args.precision}-seed{args.seed}{shared}"


COMMANDS = {
    "list": command_list,
    "run": command_run,
    "new": command_new,
    "draw": command_draw,
    "report": command_report,
    "check": command_check,
    "fetch": command_fetch,
    "vectors": command_vectors,
}


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and run the command; its exit status."""
    args = parser().parse_args(argv)
    if "out" in args:
        args.out = (args.out or default_out(args)).resolve()
    try:
        with stoppable():
            return args.function(args)
    except KeyboardInterrupt as stop:
        CONSOLE.print("[red]interrupted[/]")
        return status_of(stop)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Take SIGTERM as SIGINT: what is under way is left in order, and what it had begun is removed."""

    def stop(number: int, _: Any) -> None:
        """Interrupt what runs."""
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def status_of(stop: KeyboardInterrupt) -> int:
    """The exit status that tells a shell which signal it was."""
    return 128 + (stop.args[0] if stop.args else signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
