"""python -m nsx audit FILE: what a negative sampler does to the gradient, on one's own embeddings."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path

LEAST = 1.2e-38  # anything smaller counts as 0
MOST = 1_000_000  # draws that anybody asks for


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="python -m nsx", description=__doc__)
    commands = main.add_subparsers(dest="command", required=True)
    audit = commands.add_parser("audit", help="compare proposals on embeddings from a file")
    audit.add_argument("file", type=Path, help=".npz, .npy or .safetensors: anchors, positives, candidates, ...")
    names = "uniform, power:0.75, in-batch, gibbs:4, scores:0.1, ann:0.9 or weights:KEY; may be repeated"
    audit.add_argument("--proposal", "-p", action="append", metavar="NAME", help=names)
    audit.add_argument("--temperature", "-t", type=_positive, default=0.1, help="of the loss (default 0.1)")
    numbers = "numbers of negatives, ascending (1 4 16 64, as far as there are candidates)"
    audit.add_argument("--negatives", "-k", dest="k", type=_count(1, MOST), nargs="+", help=numbers)
    audit.add_argument("--loss", choices=("info_nce", "sgns"), default="info_nce")
    audit.add_argument("--dot", action="store_true", help="scores are dot products (default: cosines)")
    audit.add_argument("--scores", action="store_true", help="a .npy holds scores, the positive of row i in column i")
    audit.add_argument("--hard", type=_share, default=0.01, help="share of negatives that counts as hard (0.01)")
    audit.add_argument("--anchors", type=_count(1), default=256, help="pairs to look at, chosen at random (256)")
    audit.add_argument("--replicates", type=_count(2, MOST), default=32, help="independent draws per pair (32)")
    audit.add_argument("--batch", type=_count(1), default=256, help="pairs of a training step, for the memory (256)")
    audit.add_argument("--entropy", type=_positive, help="nats; report the temperature with this entropy")
    audit.add_argument("--seed", type=_count(0, 2**32 - 1), default=0)
    audit.add_argument("--out", type=Path, default=Path("."), help="folder of audit.json and audit.png (here)")
    return main


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 2 with a message where the input is wrong."""
    options = parser().parse_args(arguments)
    try:
        errors = importlib.import_module("nsx._command._errors")
        command = importlib.import_module(f"nsx._command._{options.command}")  # on demand: it draws
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error.name} is not installed: pip install 'nsx[audit]'\n")
        return 2
    try:
        return command.run(options)
    except errors.Refused as error:
        sys.stderr.write(f"{error}\n")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error.name} is not installed: pip install 'nsx[audit]'\n")
    return 2


def _positive(text: str) -> float:
    value = _number(text)
    if not (LEAST <= value < math.inf):
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not (0 < value <= 1):
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def _count(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A reader of whole numbers from the least to the most."""

    def read(text: str) -> int:
        """The number."""
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
        if not (least <= value <= most):
            raise argparse.ArgumentTypeError(f"must be at least {least}{_up_to(most)}, got {text}")
        return value

    return read


def _up_to(most: float) -> str:
    return "" if most == math.inf else f" and at most {most}"


if __name__ == "__main__":
    sys.exit(main())
