"""Every public function of nsx, with arguments that it is glad of and what is true of it.

`tests/catalogue/<module>.py` holds `CASES`, a tuple of `Case`, at least one for each public function of `nsx.<module>`.
`tests/test_public.py` runs over all of them, the fuzz (`tests/test_fuzz.py`) draws its examples from them, and a public
function without an entry fails the suite.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import nsx

NOTHING: Mapping = {}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One public function, its arguments by name, and what does not apply to it.

    All arguments are given by keyword, so a function that takes functions or pytrees is wrapped in a small `def` that
    builds them from arrays. Values are plain NumPy float64 or int64: the tests set the types.

    Attributes:
        name: `module.function` as a user writes it after `nsx.`.
        call: the function, or the wrapper. It may return any pytree of arrays.
        floats: float data. NaN at any entry must reach the result.
        integers: ids, labels, tokens, counts of integer type.
        masks: boolean arrays.
        parameters: scalars with a domain (temperature, rate); they may be traced.
        outside: of those, values outside the domain: ValueError when concrete, NaN when traced.
        static: what sets a shape or a path of the code; never traced, never changed.
        random: the function takes a `key`.
        masked: float data and the mask that rules it, by name: an entry under False may hold anything.
        exempt: test of `test_public.TESTS` and the true reason why it does not apply.
        infinite: why a moderate finite input may give an infinity (log of probability 0), or "".
        undefined: why some moderate finite input has no answer, an error when concrete and NaN when traced, or "".
    """

    name: str
    call: Callable[..., Any]
    floats: Mapping[str, np.ndarray] = field(default_factory=dict)
    integers: Mapping[str, np.ndarray] = field(default_factory=dict)
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    outside: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    static: Mapping[str, Any] = field(default_factory=dict)
    random: bool = False
    masked: Mapping[str, str] = field(default_factory=dict)
    exempt: Mapping[str, str] = field(default_factory=dict)
    infinite: str = ""
    undefined: str = ""

    @property
    def traced(self) -> tuple[str, ...]:
        """Names of the arguments that a transformation may trace."""
        return (*self.floats, *self.integers, *self.masks, *self.parameters)


def public_modules() -> list[str]:
    """Every module a user may import: no part of its path begins with an underscore."""
    names = [module.name for module in pkgutil.walk_packages(nsx.__path__, "nsx.")]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


def public_functions() -> Iterator[str]:
    """`module.function` of every function that a module offers as its own."""
    for module_name in public_modules():
        for name, value in vars(importlib.import_module(module_name)).items():
            own = getattr(value, "__module__", "").startswith(module_name) and not name.startswith("_")
            if own and (inspect.isfunction(value) or hasattr(value, "__wrapped__")):
                yield f"{module_name.removeprefix('nsx.')}.{name}"


def cases() -> list[Case]:
    """All entries of the catalogue."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [case for module in modules for case in module.CASES]
