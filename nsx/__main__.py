"""python -m nsx audit FILE: what a negative sampler does to the gradient, on one's own embeddings."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="python -m nsx", description=__doc__)
    commands = main.add_subparsers(dest="command", required=True)
    audit = commands.add_parser("audit", help="compare proposals on embeddings from a file")
    audit.add_argument("file", type=Path, help=".npz, .npy or .safetensors: anchors, positives, candidates, ...")
    names = "uniform, power:0.75, in-batch, gibbs:4, scores:0.1, ann:0.9 or weights:KEY; may be repeated"
    audit.add_argument("--proposal", "-p", action="append", metavar="NAME", help=names)
    audit.add_argument("--temperature", "-t", type=float, default=0.1, help="of the loss (default 0.1)")
    audit.add_argument("--negatives", "-k", type=int, nargs="+", default=[1, 4, 16, 64], help="ascending (1 4 16 64)")
    audit.add_argument("--loss", choices=("info_nce", "sgns"), default="info_nce")
    audit.add_argument("--dot", action="store_true", help="scores are dot products (default: cosines)")
    audit.add_argument("--hard", type=float, default=0.01, help="share of negatives that counts as hard (0.01)")
    audit.add_argument("--anchors", type=int, default=256, help="anchors to look at, chosen at random (256)")
    audit.add_argument("--replicates", type=int, default=32, help="independent draws an anchor (32)")
    audit.add_argument("--batch", type=int, default=256, help="anchors of a training step, for the memory (256)")
    audit.add_argument("--entropy", type=float, help="nats; report the temperature with this entropy")
    audit.add_argument("--seed", type=int, default=0)
    audit.add_argument("--out", type=Path, default=Path("."), help="folder of audit.json and audit.png (here)")
    return main


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 2 with a message where the input is wrong."""
    options = parser().parse_args(arguments)
    try:
        return importlib.import_module(f"nsx._command._{options.command}").run(options)  # on demand: it draws
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error.name} is not installed: pip install 'nsx[audit]'\n")
    except (ValueError, TypeError, OSError) as error:
        sys.stderr.write(f"{options.file}: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
