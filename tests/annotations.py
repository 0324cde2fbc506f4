"""Call every entry of the catalogue with nsx's shape annotations checked: python -m tests.annotations.

Prints the entries whose annotations refuse what the functions themselves take or give, as JSON. It must be the first
to import nsx in its process.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from types import ModuleType

import jax
from jaxtyping import TypeCheckError, install_import_hook

from tests import tower

PRECISION = os.environ.get("NSX_PRECISION", "64")


def wrong() -> dict[str, str]:
    """By entry, what the annotations refuse; another error is not theirs, and is named too."""
    from tests.test_public import CASES, arguments

    found = {}
    for i, case in enumerate(CASES):
        try:
            case.call(**arguments(case))
        except TypeCheckError as error:
            found[f"{case.name}-{i}"] = str(error)
        except Exception as error:
            found[f"{case.name}-{i}"] = f"{type(error).__name__}: {error}"
    return found


def in_force(package: ModuleType) -> bool:
    """True where what no annotation allows is refused by it, before the function sees it."""
    try:
        package.entropy.entropy({"no": "array"}, 1.0)
    except TypeCheckError:
        return True
    except Exception:
        return False
    return False


def main() -> None:
    """Import all of nsx under the hook, then call."""
    from experiments import _compiled

    _compiled.keep()
    jax.config.update("jax_enable_x64", PRECISION == "64")
    with install_import_hook("nsx", f"{tower.__name__}.checked"):
        package = importlib.import_module("nsx")
        names = [module.name for module in pkgutil.walk_packages(package.__path__, "nsx.")]
        for name in names:
            if not name.startswith("nsx._command") and not name.endswith("__main__"):
                importlib.import_module(name)
    json.dump({"in force": in_force(package), "wrong": wrong()}, sys.stdout)


if __name__ == "__main__":
    main()
