"""Every public function over types, shapes and edge values: a documented result or a documented error.

The arguments of `tests/catalogue` are bent out of shape: values at the edges of their types, other number types, empty
and single axes, masks of nothing, integers of every width, parameters outside their domain, traced and not. Then

- an error must be nsx's own ValueError or TypeError, raised by its code and not from the depths of JAX or NumPy;
- finite inputs of moderate size give no NaN, and no infinity but where the entry says why.

`make fuzz` runs 100,000 examples, spread over the functions; NSX_FUZZ sets another number and NSX_SEED the seed. The
suite runs a few of each function, so that the fuzz itself cannot rot.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import nsx
from tests.catalogue import Case
from tests.helpers import PRECISION, SEED
from tests.test_public import CASES, arguments, is_key, with_a_fresh_key

EXAMPLES = int(os.environ.get("NSX_FUZZ", "0"))
EACH = -(-EXAMPLES // len(CASES)) if EXAMPLES else 3

MODERATE = 1e3  # finite inputs up to here, and parameters inside their domain, must give finite results
EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, 88.0, -104.0, 1e4, -1e4, 1e-38, 1e-45, 1e38, -1e38, np.inf, -np.inf, np.nan)
FLOATS = ("float16", "bfloat16", "float32") + (("float64",) if PRECISION == 64 else ())
INTEGERS = ("int8", "uint8", "int32", "uint32", "int64", "uint64")
INTEGER_EDGES = (0, 1, -1, 127, 255, 2**31 - 1, 2**31, 2**32 + 3, 2**53 + 1, 2**63 - 1)
PARAMETER_EDGES = (0.0, 1.0, -1.0, 1e-6, 0.3, 40.0, 1e6, 1e-40, 1e38, np.inf, -np.inf, np.nan)
OURS = Path(nsx.__file__).parent


class Bent(NamedTuple):
    """Arguments of one example, whether they are traced, and whether finite results may be asked for."""

    given: dict[str, Any]
    traced: bool
    moderate: bool


# --- Bending the arguments


@st.composite
def bent(draw: st.DrawFn, case: Case) -> Bent:
    """The arguments of an entry, up to three of them changed."""
    given = arguments(case)
    moderate = True
    names = [*case.floats, *case.integers, *case.masks, *case.parameters]
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else []:
        if name in case.parameters:
            given[name], inside = draw(bent_parameter(case, name))
            moderate &= inside
        elif name in case.masks:
            given[name] = draw(bent_mask(given[name]))
            moderate = False  # what a mask of nothing gives is the function's own affair, and tested there
        elif name in case.integers:
            given[name] = draw(bent_integers(given[name]))
            moderate = False
        else:
            given[name], inside = draw(bent_floats(given[name]))
            moderate &= inside
    return Bent(given, draw(st.booleans()) and "jit" not in case.exempt, moderate)


@st.composite
def bent_floats(draw: st.DrawFn, array: np.ndarray) -> tuple[Any, bool]:
    """Float data with other values, another type, or another shape; True where they stay moderate."""
    kind = draw(st.sampled_from(("edge", "edge", "scale", "equal", "type", "shape")))
    if kind == "type":
        return jnp.asarray(array, draw(st.sampled_from(FLOATS))), True
    if kind == "shape":
        return draw(bent_shape(array)), False
    array = np.array(array)
    if kind == "scale":
        factor = 10.0 ** draw(st.integers(-6, 6))
        array = (array.astype(np.float64) * factor).astype(array.dtype)
    elif array.size:
        value = draw(st.sampled_from(EDGES))
        with np.errstate(over="ignore"):
            if kind == "equal":
                array[...] = value
            else:
                array.flat[draw(st.integers(0, array.size - 1))] = value
    small = (array != 0) & (np.abs(array) < 1e-6)
    return array, bool(np.all(np.isfinite(array)) and np.max(np.abs(array), initial=0) <= MODERATE and not small.any())


@st.composite
def bent_shape(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    """The array with an axis emptied, cut to one, or added, or as a scalar."""
    if array.ndim == 0:
        return array[None]
    axis = draw(st.integers(0, array.ndim - 1))
    how = draw(st.sampled_from(("empty", "one", "more", "scalar")))
    if how == "more":
        return array[None]
    if how == "scalar":
        return array.flat[0] if array.size else np.zeros((), array.dtype)
    return np.take(array, range(0 if how == "empty" else min(1, array.shape[axis])), axis=axis)


@st.composite
def bent_mask(draw: st.DrawFn, mask: np.ndarray) -> np.ndarray:
    """All, nothing, another shape, or no mask at all but numbers."""
    how = draw(st.sampled_from(("all", "nothing", "shape", "integers")))
    if how == "shape":
        return draw(bent_shape(mask))
    if how == "integers":
        return mask.astype(np.int32)
    return np.full(mask.shape, how == "all")


@st.composite
def bent_integers(draw: st.DrawFn, array: np.ndarray) -> Any:
    """Integers of another width, at an edge, or of another shape."""
    how = draw(st.sampled_from(("type", "edge", "shape", "float")))
    if how == "shape":
        return draw(bent_shape(array))
    if how == "float":
        return array.astype(np.float32)
    if how == "type":
        return array.astype(draw(st.sampled_from(INTEGERS)))
    array = array.astype(np.int64)
    if array.size:
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(INTEGER_EDGES))
    return array


@st.composite
def bent_parameter(draw: st.DrawFn, case: Case, name: str) -> tuple[Any, bool]:
    """A parameter at an edge, as a Python, NumPy or JAX number; True where it is the entry's own."""
    value = draw(st.sampled_from((*PARAMETER_EDGES, case.parameters[name], *case.outside.get(name, ()))))
    form = draw(st.sampled_from(("python", "numpy", "jax")))
    with np.errstate(over="ignore"):
        number = {"python": float, "numpy": np.float32, "jax": jnp.float32}[form](value)
    return number, value == case.parameters[name]


# --- What must hold


@pytest.fixture(autouse=True)
def _whole_tracebacks():
    """JAX hides its own frames, and with them whose error it is."""
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    yield
    jax.config.update("jax_traceback_filtering", before)


def compiled(case: Case) -> Callable:
    """The function with all that may be traced traced; one compiled program serves all examples of one shape."""
    fixed = {name: value for name, value in arguments(case).items() if name not in case.traced}
    return jax.jit(lambda moving: case.call(**moving, **with_a_fresh_key(fixed)))


def call(case: Case, program: Callable, example: Bent) -> list[np.ndarray]:
    """The leaves of the result."""
    if example.traced:
        found = program({name: example.given[name] for name in case.traced})
    else:
        found = case.call(**example.given)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found) if not is_key(leaf)]


def is_documented(error: Exception) -> bool:
    """nsx's own word: a plain ValueError or TypeError that its code, or the entry's wrapper, raised."""
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return type(error) in (ValueError, TypeError) and last.is_relative_to(OURS)


def say(example: Bent) -> str:
    """The example as one would type it."""
    return "\n".join(f"  {name} = {value!r}" for name, value in example.given.items() if name != "key")


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.name}" for i, case in enumerate(CASES)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning:jax")
def test_a_documented_result_or_a_documented_error(case):
    program = compiled(case)

    @seed(SEED)
    @settings(max_examples=EACH, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(bent(case))
    def examples(example: Bent) -> None:
        how = f"{case.name}, {'traced' if example.traced else 'eager'}, with\n{say(example)}"
        try:
            found = call(case, program, example)
        except Exception as error:
            if is_documented(error):
                return
            raise AssertionError(f"{type(error).__name__} from elsewhere: {how}") from error
        for leaf in found if example.moderate else ():
            if np.issubdtype(leaf.dtype, np.inexact):
                undefined = example.traced and case.undefined
                assert undefined or not np.any(np.isnan(leaf)), f"NaN of finite numbers: {how}"
                assert case.infinite or not np.any(np.isinf(leaf)), f"infinity of moderate numbers: {how}"

    examples()


def test_an_error_of_jax_is_no_documented_error():
    with pytest.raises(TypeError, match="incompatible shapes") as caught:
        jnp.ones(2) + jnp.ones(3)
    assert not is_documented(caught.value)
    with pytest.raises(ValueError, match="temperature") as caught:
        nsx.losses.decoupled_info_nce(0.0, jnp.zeros(2), temperature=-1.0)
    assert is_documented(caught.value)
