"""Figures: a topic as time and memory against size, with the machine's limit; a contest as quality against speed."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.pyplot as plt

from experiments._files import write_atomically

STYLE = Path(__file__).resolve().parent.parent / "experiments" / "nsx.mplstyle"


def save_topic(record: dict, path: Path) -> None:
    """Draw a topic's record; a topic of one size has no curve and no figure."""
    results = record["results"]
    if len(results) < 2:
        return
    has_memory = any(v is not None for r in results for v in (r.get("added_mib") or {}).values())
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 1 + has_memory, figsize=(3.8 * (1 + has_memory) + 1.4, 3.4), squeeze=False)
        names = list(dict.fromkeys(n for r in results for n in r["seconds"]))
        for i, name in enumerate(names):
            style = {"marker": "o", "ms": 4, "lw": 2 if name.startswith("nsx") else 1.2, "color": f"C{i}"}
            some = [r for r in results if name in r["seconds"]]
            sizes, times = [r["size"] for r in some], [r["seconds"][name] for r in some]
            axes[0, 0].plot(sizes, [t["median"] for t in times], label=name, **style)
            axes[0, 0].fill_between(
                sizes, [t["p10"] for t in times], [t["p90"] for t in times], color=f"C{i}", alpha=0.2
            )
            if has_memory:
                kept = [(r["size"], r["added_mib"].get(name)) for r in some]
                kept = [(s, m) for s, m in kept if m]
                axes[0, 1].plot([s for s, _ in kept], [m for _, m in kept], **style)
        if "limit_seconds" in results[0]:
            limit = [r["limit_seconds"] for r in results]
            axes[0, 0].plot([r["size"] for r in results], limit, "k--", lw=1, label="matrix products alone")
        for axis, label in zip(axes[0], ("seconds, median", "peak memory added (MiB)"), strict=False):
            axis.set(xscale="log", yscale="log", xlabel=record["axis"], ylabel=label)
        figure.legend(loc="outside right center", frameon=False)
        _finish(figure, record, any(r["disturbed"] for r in results), path)


def save_contest(record: dict, path: Path) -> None:
    """Draw a contest of trainers: each figure of quality against speed, a point a seed."""
    speed = f"{record['unit']}_per_second"
    measures = [k for k in next(iter(record["runs"].values()))[0] if not k.endswith("second")]
    if not measures:
        return
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, len(measures), figsize=(2.9 * len(measures) + 1.6, 3.0), squeeze=False)
        for axis, measure in zip(axes[0], measures, strict=True):
            for i, (name, runs) in enumerate(record["runs"].items()):
                points = [r[speed] for r in runs], [r[measure] for r in runs]
                axis.plot(*points, "o", ms=5, alpha=0.8, color=f"C{i}", label=name)
            axis.set(xscale="log", xlabel=f"{record['unit']} a second", ylabel=measure.replace("_", " "))
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        _finish(figure, record, record["disturbed"], path)


def _finish(figure: plt.Figure, record: dict, disturbed: bool, path: Path) -> None:
    """Say what, on which device and whether it was disturbed; write and close."""
    upset = ", machine disturbed" if disturbed else ""
    figure.suptitle(f"{record['title']}\n{record['device']}{upset}", fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    write_atomically(path, picture.getvalue())
    plt.close(figure)
