"""One file per claim of the theory of negative sampling; `python -m experiments --help` runs them."""
