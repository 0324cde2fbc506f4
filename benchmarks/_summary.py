"""The table of all results of a device: what was raced, the ratios beside the goals, and the machine's limit."""

from __future__ import annotations

import json
from pathlib import Path

from experiments._files import write_atomically

HEAD = """# Benchmarks on {device}

{cores} cores; {versions}. Written by `python -m benchmarks`: medians, contestants in turns. A ratio is the peer's time
over that of nsx; **bold** reaches the goal, which stands in brackets. "Limit" is the time of the matrix products that
the loss takes where it keeps no scores (3 for rows, 4 for both sides, 2 for one tower by triangular tiles), at the rate
this machine had in the same run for products of vectors of that length, as a share of nsx's time: near 100 % nothing is
left to win. "MiB" is the peak memory that one run adds.
"""
RACES = "| race | size | nsx ms | limit | nsx MiB | against |\n|---|---:|---:|---:|---:|---|\n"
CONTESTS = "\n## Trainers\n\n| training | figure | nsx | peer | nsx against the peer |\n|---|---|---:|---:|---:|\n"


def write(folder: Path) -> None:
    """README.md of a folder of results."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    versions: dict[str, str] = {}
    for record in records:
        versions |= record["versions"]
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    text = HEAD.format(device=folder.name, cores=max(r["cores"] for r in records), versions=named) + "\n" + RACES
    text += "".join(line + "\n" for r in records if "results" in r for line in _race(r))
    contests = [line + "\n" for r in records if "runs" in r for line in _contest(r)]
    text += CONTESTS + "".join(contests) if contests else ""
    write_atomically(folder / "README.md", text.encode())


def _race(record: dict) -> list[str]:
    """A line a size."""
    lines = []
    for result in record["results"]:
        name = result["reference"]
        own = result["seconds"][name]["median"]
        limit = f"{result['limit_seconds'] / own:.0%}" if "limit_seconds" in result else ""
        memory = result.get("added_mib") or {}
        added = "" if memory.get(name) is None else f"{memory[name]:.0f}"
        against = ", ".join(
            _against(peer, result, memory.get(peer), record["goals"]) for peer in result["seconds"] if peer != name
        )
        size = f"{result['size']:,}" if record["axis"] else ""
        lines.append(f"| {record['title']} | {size} | {1e3 * own:.3g} | {limit} | {added} | {against} |")
    return lines


def _against(peer: str, result: dict, memory: float | None, goals: dict[str, float]) -> str:
    """A peer's ratio with its goal and its memory."""
    goal = f" (goal {goals[peer]:.3g})" if peer in goals else ""
    space = "" if memory is None else f" {memory:.0f} MiB"
    if result["disturbed"]:
        return f"{peer} disturbed{goal}{space}"
    ratio = result["ratio"][peer]
    shown = f"{ratio:.3g}x"
    return f"{peer} {f'**{shown}**' if ratio >= goals.get(peer, float('inf')) else shown}{goal}{space}"


def _contest(record: dict) -> list[str]:
    """A line a figure."""
    lines, mean = [], lambda runs, key: sum(r[key] for r in runs) / len(runs)
    for peer, found in record["compared"].items():
        for key, value in found.items():
            own, other = (mean(record["runs"][name], key) for name in (next(iter(record["runs"])), peer))
            speed = key.endswith("second")
            aim = record["goal"] if speed else None
            goal = f" (goal {aim:.3g})" if aim and "processor" not in key else ""
            shown = "disturbed" if value is None else _interval(value, speed, aim or float("inf"))
            lines.append(f"| {record['title']} | {key.replace('_', ' ')} | {own:.4g} | {other:.4g} | {shown}{goal} |")
    return lines


def _interval(value: dict, speed: bool, goal: float) -> str:
    low = "" if value["low"] is None else f" [{value['low']:.3g}, {value['high']:.3g}]"
    if not speed:
        return f"{value['mean']:+.3g}{low}"
    return (f"**{value['mean']:.3g}x**" if value["mean"] >= goal else f"{value['mean']:.3g}x") + low
