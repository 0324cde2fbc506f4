"""nsx: the theory of negative sampling in JAX.

Three ideas hold it together: a sampler is its log-weights; a loss is a function of scores; a game is its
vector field. Submodules are loaded on first use, so `import nsx` costs little more than `import jax`.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsx import asymptotics as asymptotics
    from nsx import audit as audit
    from nsx import bias as bias
    from nsx import checkpoints as checkpoints
    from nsx import distances as distances
    from nsx import entropy as entropy
    from nsx import games as games
    from nsx import graphs as graphs
    from nsx import hierarchies as hierarchies
    from nsx import hypergraphs as hypergraphs
    from nsx import losses as losses
    from nsx import poincare as poincare
    from nsx import quadrature as quadrature
    from nsx import samplers as samplers
    from nsx import sequences as sequences
    from nsx import spikes as spikes
    from nsx import words as words

# the folder is the list; the imports above are for type checkers, and a test compares the two
_SUBMODULES = tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))

try:
    __version__ = version("nsx")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f"nsx.{name}")
    raise AttributeError(f"module 'nsx' has no attribute {name!r}; submodules: {', '.join(_SUBMODULES)}")


def __dir__() -> list[str]:
    return sorted([*_SUBMODULES, "__version__"])
