"""Array types shared by every signature; shapes are documented by jaxtyping strings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int, Key, Shaped

PyTree: TypeAlias = Any
Players: TypeAlias = tuple[PyTree, ...]
Loss: TypeAlias = Callable[[Players], Array]

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Complex",
    "DTypeLike",
    "Float",
    "Int",
    "Key",
    "Loss",
    "Players",
    "PyTree",
    "Shaped",
]
