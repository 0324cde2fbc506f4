"""The ground: integers that never wrap, floats that meet, domains that give NaN when traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsx import _checks
from tests.helpers import FLOAT, PRECISION

INTEGERS = st.integers(-3, 3) | st.integers(-(2**63), 2**64 - 1) | st.integers(2**53, 2**53 + 2) | st.integers()


def as_array(values):
    """The integers in the type that holds them: int64, uint64, or Python's own."""
    if all(-(2**63) <= v < 2**63 for v in values):
        return np.array(values, np.int64)
    return np.array(values, np.uint64) if all(0 <= v < 2**64 for v in values) else values


# --- Labels: compared for equality only


@settings(deadline=None, max_examples=200)
@given(st.lists(INTEGERS, min_size=1, max_size=8), st.lists(INTEGERS, min_size=1, max_size=8))
def test_labels_keep_every_equality(first, second):
    second = second + first[:2]
    a, b = _checks.as_labels(a=as_array(first), b=as_array(second))
    assert a.dtype == b.dtype == jnp.int32
    np.testing.assert_array_equal(
        np.asarray(a)[:, None] == np.asarray(b)[None, :], [[x == y for y in second] for x in first]
    )
    np.testing.assert_array_equal(
        np.asarray(a)[:, None] == np.asarray(a)[None, :], [[x == y for y in first] for x in first]
    )


def test_labels_of_signed_and_unsigned_64_bits_do_not_meet_in_a_float():
    signed = np.array([-1, 2**53, 2**53 + 1])
    unsigned = np.array([2**64 - 1, 2**53 + 1], np.uint64)
    a, b = _checks.as_labels(a=signed, b=unsigned)
    assert [[int(x) == int(y) for y in b] for x in a] == [[False, False], [False, False], [False, True]]


def test_labels_that_fit_are_left_alone():
    assert _checks.as_labels(a=np.array([7, -3], np.int8), b=None)[0].tolist() == [7, -3]
    assert _checks.as_labels(a=None, b=[1])[0] is None


def test_labels_beside_a_traced_array():
    fits = jax.jit(lambda a: _checks.as_labels(a=a, b=np.array([5, 7])))
    assert [x.tolist() for x in fits(jnp.array([5, 6]))] == [[5, 6], [5, 7]]
    with pytest.raises(ValueError, match="b needs more than 32 bits beside a traced array"):
        jax.jit(lambda a: _checks.as_labels(a=a, b=np.array([2**40])))(jnp.array([5]))
    with pytest.raises(TypeError, match="signed and unsigned"):
        jax.jit(lambda a, b: _checks.as_labels(a=a, b=b))(jnp.array([5]), jnp.array([5], jnp.uint32))


@pytest.mark.parametrize("wrong", [[1.0], [True], ["a"], np.array([1 + 0j])])
def test_labels_must_be_integers(wrong):
    with pytest.raises(TypeError, match="ids must be integers"):
        _checks.as_labels(ids=wrong)


def test_python_integers_have_no_limit():
    assert _checks.as_labels(ids=[2**70, 2**70 + 1, 2**70])[0].tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=f"got {2**70}"):
        _checks.as_ids("ids", [2**70], high=3)


# --- Ids: they index


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_ids_of_any_integer_type(dtype):
    found = _checks.as_ids("ids", np.array([0, 9], dtype), high=10)
    assert found.dtype == jnp.int32
    assert found.tolist() == [0, 9]


@pytest.mark.parametrize("wrong", [2**32 + 3, -1, 10, 2**63])
def test_ids_outside_are_named_and_not_cut(wrong):
    with pytest.raises(ValueError, match=rf"ids must be in \[0, 9\], got {wrong} at \(1,\)"):
        _checks.as_ids("ids", [3, wrong], high=10)


def test_ids_traced_keep_their_type():
    assert jax.jit(lambda i: _checks.as_ids("ids", i, high=2))(jnp.array([5], jnp.int16)).dtype == jnp.int16
    with pytest.raises(TypeError, match="must be integers"):
        jax.jit(lambda i: _checks.as_ids("ids", i, high=2))(jnp.array([5.0]))


def test_no_ids_at_all():
    assert _checks.as_ids("ids", [], high=10).shape == (0,)


# --- Floats


def test_floats_of_two_types_meet_in_the_wider():
    wide = jnp.float64 if PRECISION == 64 else jnp.float32
    a, b, c = _checks.as_floats(a=jnp.ones(2, jnp.float16), b=None, c=jnp.ones(2, wide))
    assert (a.dtype, b, c.dtype) == (wide, None, wide)
    with jax.numpy_dtype_promotion("strict"):
        narrow = _checks.as_floats(a=jnp.ones(2, jnp.float16), c=jnp.ones(2, jnp.bfloat16))
    assert [x.dtype for x in narrow] == [jnp.float32, jnp.float32]


def test_a_python_number_does_not_widen():
    outside = _checks.as_floats(a=jnp.ones(2, jnp.float32), c=0.5)
    inside = jax.jit(lambda a, c: _checks.as_floats(a=a, c=c))(jnp.ones(2, jnp.float32), 0.5)
    assert [x.dtype for x in (*outside, *inside)] == [jnp.float32] * 4
    assert _checks.as_floats(c=0.5)[0].dtype == FLOAT


def test_integers_become_the_runs_float():
    assert _checks.as_float("x", [1, 2]).dtype == FLOAT


@pytest.mark.parametrize("wrong", [1j, np.array(["a"], object)])
def test_what_is_no_real_number_is_refused(wrong):
    with pytest.raises(TypeError):
        _checks.as_float("x", wrong)


# --- Domains


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1e-40, np.inf, np.nan])
def test_what_is_not_positive(wrong):
    with pytest.raises(ValueError, match="tau must be positive and finite"):
        _checks.require_positive("tau", wrong)
    assert np.isnan(jax.jit(lambda x: _checks.require_positive("tau", x))(wrong))


def test_inside_a_domain_the_value_passes_with_its_gradient():
    assert jax.grad(lambda x: _checks.require_positive("tau", x) ** 2)(3.0) == 6.0
    assert jax.grad(lambda x: _checks.require_in_range("rate", x, 0, 1))(1.0) == 1.0
    assert jax.jit(lambda x: _checks.require_positive("tau", x))(jnp.int32(2)).dtype == FLOAT


@pytest.mark.parametrize("wrong", [1.0, -0.1, np.nan])
def test_a_half_open_range(wrong):
    with pytest.raises(ValueError, match=r"prior must be in \[0, 1\)"):
        _checks.require_in_range("prior", wrong, 0, 1, open_high=True)
    assert np.isnan(jax.jit(lambda x: _checks.require_in_range("prior", x, 0, 1, open_high=True))(wrong))


def test_masks_are_boolean_and_fit():
    assert _checks.as_mask("where", [True, False], (3, 2)).shape == (3, 2)
    with pytest.raises(TypeError, match=r"where must be boolean \(True at what counts\), got int"):
        _checks.as_mask("where", [1, 0], meaning="True at what counts")
    with pytest.raises(ValueError, match="does not broadcast"):
        _checks.as_mask("where", [True, False, True], (3, 2))


def test_shapes_of_draws():
    assert _checks.as_shape(3) == _checks.as_shape((3,)) == (3,)
    assert _checks.as_shape(()) == ()
    with pytest.raises(TypeError, match="Python integer"):
        _checks.as_shape((2.0,))
    with pytest.raises(ValueError, match="at least 0"):
        _checks.as_shape(-1)


def test_integers_of_64_bits_become_floats_before_jax_cuts_them():
    far = 2**40 + 4
    for value in (np.array([far]), [far]):
        assert float(_checks.as_float("x", value)[0]) == pytest.approx(far, rel=1e-6)
    assert float(_checks.as_float("x", far)) == pytest.approx(far, rel=1e-6)
    narrow = _checks.as_floats(x=np.zeros(1, np.float32), y=3)
    assert [array.dtype for array in narrow] == [np.float32, np.float32], "a Python integer does not widen"


def test_traced_ids_as_int32_never_wrap():
    narrowed = jax.jit(_checks.clip_to_int32)
    most = 2**31 - 1
    assert narrowed(np.array([3, 2**31, 2**32 - 1], np.uint32)).tolist() == [3, most, most]
    assert narrowed(np.array([3, -1], np.int8)).tolist() == [3, -1]
    assert narrowed(np.array([200], np.uint8)).tolist() == [200]
    if jax.config.jax_enable_x64:
        assert narrowed(np.array([2**32 + 3, -5, 7])).tolist() == [most, most, 7]


def test_what_is_outside_its_domain_has_no_derivative_either():
    slope = jax.jit(jax.grad(lambda x: _checks.require_positive("x", x) ** 2))
    assert np.isnan(slope(-1.0))
    assert np.isnan(slope(np.nan))
    assert float(slope(3.0)) == 6
