"""Race nsx against what a user would pick instead: python -m benchmarks [TOPIC ...] [--quick | --device].

Each topic runs its contestants in turns, medians with their spread; peak memory comes from fresh processes; the
machine's matrix products and copies are measured in the same run. Contests of trainers judge quality first, over
several seeds. Writes `<topic>.json`, `<topic>.png` and a table of all, README.md, to `benchmarks/results/<device>/`.
Where a fixed piece of work wandered, the machine was disturbed and no ratio of wall times is given. Peers that are not
installed are left out: pip install 'nsx[peers]'. The trainers need the data: python -m experiments fetch.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from rich.console import Console
from rich.table import Table

from benchmarks import _contest, _figure, _machine, _summary
from benchmarks._race import Topic, measure
from experiments._files import write_atomically
from experiments.data import DataError

MODULES = ("in_batch", "draws", "non_edges", "games", "distance", "start", "sgns", "poincare")
RESULTS = Path(__file__).parent / "results"
ROUNDS = {"quick": 5, "full": 15, "device": 15}

Entry = tuple[str, Topic | Callable[[str], _contest.Contest]]


def topics() -> dict[str, Entry]:
    """Every topic and every builder of a contest by name, with the module it comes from."""
    found: dict[str, Entry] = {}
    for name in (f"benchmarks.{m}" for m in MODULES):
        module = importlib.import_module(name)
        found |= {topic.name: (name, topic) for topic in getattr(module, "TOPICS", ())}
        found |= {contest: (name, build) for contest, build in getattr(module, "CONTESTS", {}).items()}
    return found


def run_topic(module: str, topic: Topic, scale: str, memory: bool, console: Console) -> dict:
    """All sizes of a topic, shown as they come."""
    record = {"title": topic.title, "axis": topic.axis, "goals": dict(topic.goals)}
    record |= {"limits": _machine.limits(topic.depth), "results": []}
    for size in topic.sizes[scale]:
        result = measure(topic, size, ROUNDS[scale])
        if topic.operations is not None:
            result["limit_seconds"] = topic.operations(size) / record["limits"]["thin_matmul_operations_per_second"]
        if memory:
            names = result["seconds"]
            result["added_mib"] = {n: _machine.in_fresh_process(topic.name, size, n, module) for n in names}
        record["results"].append(result)
        console.print(topic_table(topic, result))
    return record


def run_contest(build: Callable[[str], _contest.Contest], scale: str, console: Console) -> dict | None:
    """A contest of trainers; None where its peer or its data are missing."""
    try:
        contest = build(scale)
    except (ImportError, DataError) as error:
        console.print(f"left out: {error}", soft_wrap=True)
        return None
    record = _contest.hold(contest, console)
    console.print(_contest.table(contest, record))
    return {"title": contest.title, "unit": contest.unit, "goal": contest.goal, "facts": dict(contest.facts)} | record


def topic_table(topic: Topic, result: dict) -> Table:
    """One size, a row a contestant."""
    size = f", {topic.axis} = {result['size']:,}" if topic.axis else ""
    out = Table(
        "contestant", "median ms", "10 to 90 %", f"x {result['reference']}", "added MiB", title=topic.title + size
    )
    for name, s in result["seconds"].items():
        ratio = "disturbed" if result["disturbed"] else f"{result['ratio'][name]:.2f}"
        added = (result.get("added_mib") or {}).get(name)
        low, high = 1e3 * s["p10"], 1e3 * s["p90"]
        out.add_row(
            name, f"{1e3 * s['median']:.2f}", f"{low:.2f} to {high:.2f}", ratio, "" if added is None else f"{added:.0f}"
        )
    if "limit_seconds" in result:
        out.add_row("limit: the matrix products alone", f"{1e3 * result['limit_seconds']:.2f}", "", "", "")
    return out


def parser(known: dict[str, Entry]) -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    top.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(known))
    scales = top.add_mutually_exclusive_group()
    scales.add_argument("--quick", dest="scale", action="store_const", const="quick", help="small sizes, minutes")
    scales.add_argument("--device", dest="scale", action="store_const", const="device", help="an accelerator's sizes")
    top.add_argument("--no-memory", action="store_true", help="leave out the fresh processes that measure memory")
    top.add_argument("--out", type=Path, default=RESULTS)
    return top


def main() -> None:
    """Read the command line, race, write."""
    known = topics()
    command = parser(known)
    options = command.parse_args()
    for name in options.topics:
        if name not in known:
            command.error(f"no topic {name!r}; there are {', '.join(known)}")
    folder, scale, console = options.out / _machine.device(), options.scale or "full", Console()
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.topics or known:
        module, entry = known[name]
        if isinstance(entry, Topic):
            record, draw = run_topic(module, entry, scale, not options.no_memory, console), _figure.save_topic
        else:
            record, draw = run_contest(entry, scale, console), _figure.save_contest
        if record is None:
            continue
        record = {"topic": name, "scale": scale} | _machine.description() | record
        write_atomically(folder / f"{name}.json", (json.dumps(record, indent=1) + "\n").encode())
        draw(record, folder / f"{name}.png")
        _summary.write(folder)
        console.print(f"written: {folder / name}.json\n", soft_wrap=True)


if __name__ == "__main__":
    main()
