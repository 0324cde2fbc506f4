"""What builds the site: pages made from the README, docstrings, results and notebooks."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
