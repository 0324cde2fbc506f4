"""What holds for every public function: NaN in, NaN out; domains under jit; types that meet; strictness.

The arguments come from `tests/catalogue`. A test that does not apply to a function is named in its entry's `exempt`,
with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import Case, cases, public_functions
from tests.helpers import FLOAT, PRECISION

CASES = cases()
TESTS = {
    "nan": "NaN at an entry of the data reaches the result, and changes no other number",
    "nan gradient": "it reaches the gradient too",
    "masked": "what the mask leaves out may be NaN: values and gradients stay as they were",
    "domain": "a parameter outside its domain: ValueError when concrete, NaN when traced",
    "jit": "the function can be traced, and gives what it gives outside",
    "gradient": "the result has a gradient in its float data",
    "mixed": "two float types meet",
    "strict": "strict dtype promotion",
    "debug nans": "no NaN on the way to a finite result",
}


def entries(test: str, *, needs: str = "") -> Any:
    """The entries to which a test applies; `needs` names a field that must not be empty."""
    assert test in TESTS
    chosen = [case for case in CASES if test not in case.exempt and (not needs or getattr(case, needs))]
    counts: dict[str, int] = {}
    ids = []
    for case in chosen:
        counts[case.name] = counts.get(case.name, 0) + 1
        ids.append(case.name if counts[case.name] == 1 else f"{case.name}-{counts[case.name]}")
    return pytest.mark.parametrize("case", chosen, ids=ids)


def arguments(case: Case, **changes: Any) -> dict[str, Any]:
    """The arguments in the run's precision, some of them changed."""
    given: dict[str, Any] = {"key": jax.random.key(0)} if case.random else {}
    given |= {name: np.asarray(value, FLOAT) for name, value in case.floats.items()}
    given |= {name: np.asarray(value, np.int32) for name, value in case.integers.items()}
    given |= {name: np.asarray(value, bool) for name, value in case.masks.items()}
    return given | dict(case.parameters) | dict(case.static) | changes


def eager(case: Case, given: Mapping[str, Any]) -> list[np.ndarray]:
    """Leaves of the result."""
    given = with_a_fresh_key(given)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(case.call(**given)) if not is_key(leaf)]


def traced(case: Case, given: Mapping[str, Any]) -> list[np.ndarray]:
    """Leaves of the result with all that may be traced traced."""
    given = with_a_fresh_key(given)
    moving = {name: given[name] for name in case.traced}
    fixed = {name: value for name, value in given.items() if name not in moving}
    found = jax.jit(lambda moving: case.call(**moving, **fixed))(moving)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found) if not is_key(leaf)]


def with_a_fresh_key(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, the same draws meant: a key may be used once."""
    return {name: jax.random.clone(value) if is_key(value) else value for name, value in given.items()}


def gradient(case: Case, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Gradient of the sum of all float results in the float data."""
    moving = {name: jnp.asarray(given[name]) for name in case.floats}
    fixed = {name: value for name, value in given.items() if name not in moving}

    def total(moving: dict[str, jax.Array]) -> jax.Array:
        leaves = [leaf for leaf in jax.tree.leaves(case.call(**moving, **fixed)) if not is_key(leaf)]
        finite = [jnp.where(jnp.isinf(leaf), 0, leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return sum((jnp.sum(leaf) for leaf in finite), jnp.zeros(()))

    return {name: np.asarray(value) for name, value in jax.jit(jax.grad(total))(moving).items()}


def is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def unknown(leaf: np.ndarray) -> np.ndarray:
    """Where a result says that it does not know: NaN, or -1 for an id."""
    if np.issubdtype(leaf.dtype, np.integer):
        return leaf == -1
    return np.isnan(leaf) if np.issubdtype(leaf.dtype, np.inexact) else np.zeros(leaf.shape, bool)


def assert_spoiled(found: list[np.ndarray], clean: list[np.ndarray]) -> None:
    """Some entry is NaN (-1 for an id), and every other one is what it was."""
    assert any(np.any(unknown(leaf)) for leaf in found), f"no NaN in {found}"
    for leaf, before in zip(found, clean, strict=True):
        if leaf.shape == before.shape and np.issubdtype(leaf.dtype, np.inexact):
            same = np.isclose(leaf, before, rtol=1e-4, atol=1e-5)
            assert np.all(same | unknown(leaf)), f"another number: {leaf} for {before}"


def spoil(case: Case, name: str, *, counted: bool = True) -> np.ndarray:
    """The array with NaN at its first entry that counts (or does not)."""
    array = np.array(case.floats[name], FLOAT)
    counts = np.ones(array.shape, bool)
    if name in case.masked:
        mask = np.asarray(case.masks[case.masked[name]], bool)
        mask = mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
        counts = np.broadcast_to(mask, array.shape)
    places = np.argwhere(counts == counted)
    assert len(places), f"{case.name}: the mask of {name} leaves no entry to try"
    array[tuple(places[0])] = np.nan
    return array


def test_every_public_function_has_an_entry():
    names = {case.name for case in CASES}
    functions = set(public_functions())
    assert not functions - names, f"not in tests/catalogue: {sorted(functions - names)}"
    assert not names - functions, f"in tests/catalogue, but not public: {sorted(names - functions)}"


def test_entries_are_true_to_their_form():
    for case in CASES:
        assert not set(case.exempt) - set(TESTS), f"{case.name}: exempt from what is no test"
        assert all(len(reason) > 10 for reason in case.exempt.values()), f"{case.name}: a reason is missing"
        assert set(case.outside) <= set(case.parameters), f"{case.name}: outside what is no parameter"
        assert set(case.masked) <= set(case.floats), f"{case.name}: masked what is no float data"
        assert set(case.masked.values()) <= set(case.masks), f"{case.name}: masked by what is no mask"


@entries("jit")
def test_jit(case):
    given = arguments(case)
    for inside, outside in zip(traced(case, given), eager(case, given), strict=True):
        np.testing.assert_allclose(inside, outside, rtol=1e-10 if PRECISION == 64 else 1e-4, atol=1e-5)


@entries("nan", needs="floats")
def test_nan_reaches_the_result(case):
    clean = eager(case, arguments(case))
    for name in case.floats:
        given = arguments(case, **{name: spoil(case, name)})
        try:
            found = eager(case, given)
        except ValueError:
            found = None  # concrete NaN is refused: documented, and as loud as NaN
        if found is not None:
            assert_spoiled(found, clean)
        if "jit" not in case.exempt:
            assert_spoiled(traced(case, given), clean)


@entries("nan gradient", needs="floats")
def test_nan_reaches_the_gradient(case):
    if {"jit", "gradient"} & set(case.exempt):
        pytest.skip("has no gradient")
    for name in case.floats:
        slopes = gradient(case, arguments(case, **{name: spoil(case, name)}))
        assert any(np.any(np.isnan(slope)) for slope in slopes.values()), f"NaN in {name}: {slopes}"


@entries("masked", needs="masked")
def test_what_is_masked_may_be_nan(case):
    clean = eager(case, arguments(case))
    differentiable = not {"jit", "gradient"} & set(case.exempt)
    slopes = gradient(case, arguments(case)) if differentiable else {}
    for name in case.masked:
        given = arguments(case, **{name: spoil(case, name, counted=False)})
        for found, before in zip(eager(case, given), clean, strict=True):
            np.testing.assert_array_equal(found, before)
        for other, slope in (gradient(case, given) if differentiable else {}).items():
            np.testing.assert_allclose(slope, slopes[other], rtol=1e-5, atol=1e-6)


@entries("domain", needs="outside")
def test_parameters_outside_their_domain(case):
    for name, values in case.outside.items():
        for value in (*values, np.nan):
            given = arguments(case, **{name: FLOAT(value)})
            with pytest.raises((ValueError, TypeError)):
                eager(case, given)
            if "jit" not in case.exempt:
                found = traced(case, given)
                assert any(np.any(unknown(leaf)) for leaf in found), f"{name} = {value} gives {found}"


@entries("gradient", needs="floats")
def test_gradient_is_finite(case):
    if "jit" in case.exempt:
        pytest.skip("runs on the host")
    for name, slope in gradient(case, arguments(case)).items():
        assert np.all(np.isfinite(slope)), f"in {name}: {slope}"


@entries("mixed", needs="floats")
@pytest.mark.parametrize("other", ["float16", "bfloat16", "float32", "float64"])
def test_two_float_types_meet(case, other):
    if other == "float64" and PRECISION != 64:
        pytest.skip("there is no float64 in this run")
    clean = eager(case, arguments(case))
    rough = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-3, "float64": 1e-3}[other]
    for name in case.floats:
        given = arguments(case, **{name: jnp.asarray(case.floats[name], other)})
        for found, before in zip(eager(case, given), clean, strict=True):
            assert found.dtype not in (jnp.float16, jnp.bfloat16), f"{name} of {other} gives {found.dtype}"
            if np.issubdtype(before.dtype, np.inexact) and not case.random:
                scale = np.max(np.abs(before[np.isfinite(before)]), initial=1.0)
                np.testing.assert_allclose(found, before, rtol=rough, atol=rough * scale)
    parameters = {name: np.asarray(value, other) for name, value in case.parameters.items()}
    if parameters and other in ("float32", "float64"):
        eager(case, arguments(case, **parameters))


@entries("strict")
def test_strict_promotion(case):
    given = arguments(case)
    with jax.numpy_dtype_promotion("strict"):
        eager(case, given)
        if "jit" not in case.exempt:
            traced(case, given)


@entries("debug nans")
def test_no_nan_on_the_way(case):
    given = arguments(case)
    with jax.debug_nans(True):
        eager(case, given)
        if "jit" not in case.exempt:
            traced(case, given)
            if "gradient" not in case.exempt and case.floats:
                gradient(case, given)
