"""Race nsx against what a user would pick instead: python -m benchmarks [TOPIC ...] [--quick | --device].

Each topic runs its contestants in turns, medians with their spread; peak memory comes from fresh processes; the
machine's matrix products and copies are measured in the same run. Writes `<topic>.json` and `<topic>.png` to
`benchmarks/results/<device>/`. Where a fixed piece of work wandered, the machine was disturbed and no ratio is given.
Peers that are not installed are left out: pip install 'nsx[peers]'. The trainers race by themselves, as they judge
quality too: python benchmarks/sgns.py, python benchmarks/poincare.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from rich.console import Console
from rich.table import Table

from benchmarks import _figure, _machine
from benchmarks._race import Topic, measure

MODULES = ("in_batch", "draws", "games", "distance", "start")
PEERS = ("jax", "numpy", "optax", "torch", "pytorch-metric-learning", "geoopt", "scipy")
RESULTS = Path(__file__).parent / "results"
ROUNDS = {"quick": 5, "full": 15, "device": 15}


def topics() -> dict[str, tuple[str, Topic]]:
    """Every topic by name, with the module it comes from."""
    modules = [m for m in MODULES if (Path(__file__).parent / f"{m}.py").exists()]
    found = [(f"benchmarks.{m}", t) for m in modules for t in importlib.import_module(f"benchmarks.{m}").TOPICS]
    return {topic.name: (module, topic) for module, topic in found}


def versions() -> dict[str, str]:
    """Versions of what is installed here."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run(module: str, topic: Topic, scale: str, memory: bool, console: Console) -> dict:
    """All sizes of a topic, shown as they come."""
    record = {"topic": topic.name, "title": topic.title, "axis": topic.axis, "goals": dict(topic.goals)}
    record |= {"device": _machine.device(), "versions": versions(), "limits": _machine.limits(), "results": []}
    for size in topic.sizes[scale]:
        result = measure(topic, size, ROUNDS[scale])
        if topic.operations is not None:
            result["limit_seconds"] = topic.operations(size) / record["limits"]["matmul_operations_per_second"]
        if memory:
            names = result["seconds"]
            result["added_mib"] = {n: _machine.in_fresh_process(topic.name, size, n, module) for n in names}
        record["results"].append(result)
        console.print(table(topic, result))
    return record


def table(topic: Topic, result: dict) -> Table:
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
        out.add_row("the machine's matrix products", f"{1e3 * result['limit_seconds']:.2f}", "", "", "")
    return out


def main() -> None:
    """Read the command line, race, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    known = topics()
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(known))
    scales = parser.add_mutually_exclusive_group()
    scales.add_argument("--quick", dest="scale", action="store_const", const="quick", help="small sizes, two minutes")
    scales.add_argument("--device", dest="scale", action="store_const", const="device", help="an accelerator's sizes")
    parser.add_argument("--no-memory", action="store_true", help="leave out the fresh processes that measure memory")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name in options.topics:
        if name not in known:
            parser.error(f"no topic {name!r}; there are {', '.join(known)}")
    folder = options.out / _machine.device()
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    for name in options.topics or known:
        module, topic = known[name]
        record = run(module, topic, options.scale or "full", not options.no_memory, console)
        (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        _figure.save(record, folder / f"{name}.png")
        console.print(f"written: {folder / name}.json and .png\n")


if __name__ == "__main__":
    main()
