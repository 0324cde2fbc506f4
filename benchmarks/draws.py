"""Draws with replacement from one law, side by side: nsx, JAX, NumPy and (where installed) torch.

    python benchmarks/draws.py [--quick] [--draws N] [--rounds N] [--out FOLDER]

A million draws from a shuffled Zipf(1) law over n candidates. The contestants take turns, round after round, so
that a disturbance meets all of them; medians with their tenth and ninetieth percentiles are written to
`<out>/<device>/draws.json`. A fixed piece of work is timed in every round as well: where its time wanders, the
machine was disturbed and no ratio is printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nsx import samplers

RESULTS = Path(__file__).parent / "results"
REFERENCE = "nsx.draw_alias"
STEADY = 1.3  # ninetieth over tenth percentile of the fixed work, above which no ratio is honest
Contestants = dict[str, Callable[[int], object]]


def contestants(log_weights: np.ndarray, num_draws: int) -> Contestants:
    """Functions of the round's number; each blocks until its draws are there."""
    num = log_weights.size
    weights = np.exp(log_weights)
    p64 = weights / weights.sum()
    device_log, p32 = jnp.asarray(log_weights, jnp.float32), jnp.asarray(p64, jnp.float32)
    table = samplers.alias_table(log_weights)
    choice = jax.jit(lambda key, p: jax.random.choice(key, num, (num_draws,), p=p))
    entries: Contestants = {
        REFERENCE: lambda r: samplers.draw_alias(jax.random.key(r), table, num_draws).block_until_ready(),
        "nsx.draw_inverse": lambda r: samplers.draw_inverse(
            jax.random.key(r), device_log, num_draws
        ).block_until_ready(),
        "jax.random.choice": lambda r: choice(jax.random.key(r), p32).block_until_ready(),
        "numpy choice": lambda r: np.random.default_rng(r).choice(num, num_draws, p=p64),
        "floor: jax uniforms": lambda r: jax.random.uniform(jax.random.key(r), (num_draws,)).block_until_ready(),
        "build: nsx.alias_table": lambda r: samplers.alias_table(log_weights).alias.block_until_ready(),
    }
    return entries | torch_contestants(p64, num_draws)


def torch_contestants(p64: np.ndarray, num_draws: int) -> Contestants:
    """torch.multinomial in both precisions, where torch is installed."""
    try:
        import torch
    except ImportError:
        return {}
    double = torch.from_numpy(p64)
    single = double.float()
    return {
        "torch.multinomial f32": lambda r: torch.multinomial(single, num_draws, replacement=True),
        "torch.multinomial f64": lambda r: torch.multinomial(double, num_draws, replacement=True),
    }


def fixed_work() -> None:
    """About 10 ms that depend on nothing but the machine."""
    np.sort(np.random.default_rng(0).random(100_000))


def race(entries: Contestants, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of each contestant and of the fixed work, one a round, after a warm-up round."""
    seconds = {name: [] for name in entries}
    control = []
    for r in range(rounds + 1):
        for name, run in {**entries, "": lambda _: fixed_work()}.items():
            start = time.perf_counter()
            run(r)
            if r:
                (seconds[name] if name else control).append(time.perf_counter() - start)
    return seconds, control


def spread(seconds: list[float]) -> dict[str, float]:
    low, median, high = np.percentile(seconds, [10, 50, 90])
    return {"median": float(median), "p10": float(low), "p90": float(high)}


def measure(num: int, num_draws: int, rounds: int) -> dict:
    log_weights = np.random.default_rng(0).permutation(-np.log(np.arange(1, num + 1)))
    seconds, control = race(contestants(log_weights, num_draws), rounds)
    wander = spread(control)
    disturbed = wander["p90"] > STEADY * wander["p10"]
    ratios = {name: float(np.median(s) / np.median(seconds[REFERENCE])) for name, s in seconds.items()}
    return {
        "candidates": num,
        "draws": num_draws,
        "seconds": {name: spread(s) for name, s in seconds.items()},
        "control": wander,
        "disturbed": disturbed,
        "times_draw_alias": None if disturbed else ratios,
    }


def show(result: dict) -> None:
    print(f"\nn = {result['candidates']:,}, {result['draws']:,} draws")
    for name, s in result["seconds"].items():
        build = name.startswith("build")
        unit, scale = ("ms", 1e3) if build else ("ns a draw", 1e9 / result["draws"])
        line = f"  {name:26s}{s['median'] * scale:9.1f} [{s['p10'] * scale:.1f}, {s['p90'] * scale:.1f}] {unit}"
        ratio = "" if build or result["disturbed"] else f"  {result['times_draw_alias'][name]:6.2f} x {REFERENCE}"
        print(line + ratio)
    if result["disturbed"]:
        c = result["control"]
        print(f"  the fixed work took {1e3 * c['p10']:.1f} to {1e3 * c['p90']:.1f} ms: disturbed, so no ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, five rounds")
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    sizes, rounds = ((10**4, 10**6), 5) if options.quick else ((10**4, 10**5, 10**6), 21)
    results = [measure(num, options.draws, options.rounds or rounds) for num in sizes]
    for result in results:
        show(result)
    if not any("torch" in name for name in results[0]["seconds"]):
        print("\ntorch is not installed, so torch.multinomial is left out: pip install 'nsx[peers]'")
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    folder = options.out / device
    folder.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("jax", "numpy")}
    record = {"device": device, "versions": versions, "results": results}
    (folder / "draws.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {folder / 'draws.json'}")


if __name__ == "__main__":
    main()
