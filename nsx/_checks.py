"""Checks of arguments: what was wrong, what was got, what to do.

Shapes and dtypes are always known and always checked. Values are checked when they are concrete (Python
or NumPy numbers, arrays outside a transformation). A traced value cannot be looked at, so the checks of domains
hand it back with NaN at the entries outside: whoever uses what is returned gives NaN there, never a plausible number.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from nsx._types import Array, ArrayLike

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)  # compiled code takes anything smaller for 0


# --- Values


def is_concrete(value: object) -> bool:
    """True where the value can be looked at: not a tracer of jit, grad or vmap."""
    return not isinstance(value, jax.core.Tracer)


def require_positive(name: str, value: ArrayLike, *, advice: str = "") -> ArrayLike:
    """The value, every entry finite and >= 1.2e-38; ValueError otherwise, or NaN at such entries where traced."""
    advice = advice or "A number below 1.2e-38 counts as 0."
    return _within(name, value, lambda x: (x >= SMALLEST_NORMAL) & (x < math.inf), "positive and finite", advice)


def require_finite(name: str, value: ArrayLike, *, advice: str = "") -> ArrayLike:
    """The value, every entry finite; ValueError otherwise, or NaN at such entries where traced."""
    return _within(name, value, lambda x: (x > -math.inf) & (x < math.inf), "finite", advice)


def require_in_range(
    name: str, value: ArrayLike, low: float | int, high: float | int, *, open_high: bool = False, advice: str = ""
) -> ArrayLike:
    """The value, low <= value <= high (< high where open_high); ValueError otherwise, or NaN where traced."""
    bracket = ")" if open_high else "]"

    def inside(x: Array | np.ndarray) -> Array | np.ndarray | np.bool_:
        return (x >= low) & ((x < high) if open_high else (x <= high))

    return _within(name, value, inside, f"in [{low}, {high}{bracket}", advice)


def _within(name: str, value: ArrayLike, inside: Callable, wanted: str, advice: str) -> ArrayLike:
    """The value where it is inside its domain; outside it ValueError if it is concrete, NaN if it is traced."""
    if is_concrete(value):
        if not np.all(inside(np.asarray(value))):
            raise ValueError(f"{name} must be {wanted}, got {value}. {advice}".rstrip())
        return value
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = as_float(name, value)
    return value + jnp.where(inside(value), 0, jnp.nan)  # not a choice of the two: its derivative would be 0, not NaN


def require_count(name: str, value: int, *, minimum: int = 1) -> int:
    """The value as a Python integer; an error unless it is an integer >= minimum: it sets a shape, so it is static."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name} sets a shape and must be a Python integer, got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    return int(value)


def as_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape of draws as a tuple of Python integers; an int n stands for (n,)."""
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return tuple(require_count("shape", size, minimum=0) for size in sizes)


# --- Floats and masks


def as_float(name: str, value: ArrayLike) -> Array:
    """The value as a floating array, half precision promoted to float32 so that sums accumulate there."""
    array = jnp.asarray(_whole(value))
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got dtype {array.dtype}.")
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(jnp.zeros(()).dtype)  # integers and booleans: the default float
    return array.astype(jnp.float32) if array.dtype.itemsize < 4 else array.astype(array.dtype)


def as_floats(**values: ArrayLike | None) -> tuple[Array | None, ...]:
    """The values as floating arrays of one common type, in the order given; None stays None.

    Python scalars do not widen the type: beside a float32 array, 0.5 is float32 under 64 bits too.
    """
    given = {name: jnp.asarray(_whole(value)) for name, value in values.items() if value is not None}
    arrays = {name: as_float(name, value) for name, value in given.items()}
    strong = [array.dtype for name, array in arrays.items() if not given[name].weak_type]
    dtype = max(strong or [array.dtype for array in arrays.values()], key=lambda dtype: dtype.itemsize)
    return tuple(None if value is None else arrays[name].astype(dtype) for name, value in values.items())


def _whole(value: ArrayLike) -> ArrayLike:
    """The value, integers of the host as floats: JAX would cut those of 64 bits to 32 where it has no 64-bit types."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, jax.Array) or not is_concrete(value):
        return value
    host = np.asarray(value)
    return host.astype(np.float64) if host.dtype.kind in "iu" else value


def as_mask(name: str, value: ArrayLike, shape: tuple[int, ...] | None = None, *, meaning: str = "") -> Array:
    """The value as a boolean array, broadcast to the shape where one is given; TypeError where it is not boolean."""
    mask = jnp.asarray(value)
    if mask.dtype != bool:
        raise TypeError(f"{name} must be boolean{f' ({meaning})' if meaning else ''}, got {mask.dtype}.")
    if shape is None:
        return mask
    require_broadcastable(name, mask.shape, shape)
    return jnp.broadcast_to(mask, shape)


def as_scores(scores: ArrayLike, where: ArrayLike | None = None) -> Array:
    """Scores (..., n) of candidates as floats, -inf where the mask leaves one out; their values are not looked at."""
    scores = as_float("scores", scores)
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise ValueError(f"scores need a last axis of n >= 1 candidates, got shape {scores.shape}.")
    if where is None:
        return scores
    where = as_mask("where", where, scores.shape, meaning="True at the candidates that count")
    return jnp.where(where, scores, -jnp.inf)


# --- Integers, which never wrap


def as_ids(name: str, value: ArrayLike, *, high: int | None = None, low: int = 0) -> Array:
    """Integers that index low..high-1, as int32 (int64 where `high` needs it).

    Concrete values are looked at in their own width before JAX may cut them to 32 bits: ValueError names the first
    that is outside. A traced value keeps its integer type, or becomes int32 where that is narrower, so that it can be
    compared with any bound; the caller says what comes back for one outside.
    """
    if not is_concrete(value):
        ids = _require_integer_type(name, jnp.asarray(value))
        return ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids
    return jnp.asarray(host_ids(name, value, high=high, low=low))


def host_ids(name: str, value: ArrayLike, *, high: int | None = None, low: int = 0) -> np.ndarray:
    """`as_ids` of concrete values, left on the host."""
    host = _host_integers(name, value)
    most = np.iinfo(np.int32).max if high is None else high - 1
    outside = ((host < low) | (host > most)).astype(bool)
    if np.any(outside):
        place = np.unravel_index(np.argmax(outside), host.shape)
        where = f" at {tuple(int(i) for i in place)}" if host.ndim else ""
        raise ValueError(f"{name} must be in [{low}, {most}], got {host[place]}{where}.")
    return host.astype(np.int32 if most <= np.iinfo(np.int32).max else np.int64)


def clip_to_int32(ids: Array) -> Array:
    """Traced ids of any integer type as int32; what does not fit becomes the largest, which is no id."""
    if ids.dtype.itemsize < 4:
        return ids.astype(jnp.int32)
    most = np.iinfo(np.int32).max
    return jnp.where((ids >= 0) & (ids <= most), ids, most).astype(jnp.int32)


def as_labels(**values: ArrayLike | None) -> tuple[Array | None, ...]:
    """Integers compared for equality only, as int32 in the order given; None stays None.

    Concrete values of any integer type and size keep their equalities, within an array and across the arrays of one
    call: where they do not fit in 32 bits all are numbered anew. Traced ones pass as they are; beside a traced array a
    concrete one must fit into 32 bits, and a mix of signed and unsigned traced types is refused, as it would wrap.
    """
    given = {name: value for name, value in values.items() if value is not None}
    traced = {name: value for name, value in given.items() if not is_concrete(value)}
    host = {name: _host_integers(name, value) for name, value in given.items() if name not in traced}
    labels = {name: _require_integer_type(name, jnp.asarray(value)) for name, value in traced.items()}
    if traced:
        host = {name: _narrow(name, array) for name, array in host.items()}
        types = [array.dtype for array in (*labels.values(), *host.values())]
        if any(t in (np.uint32, np.uint64) for t in types) and any(jnp.issubdtype(t, jnp.signedinteger) for t in types):
            raise TypeError(
                f"{', '.join(given)}: signed and unsigned integers cannot be compared here; cast one first."
            )
    elif not all(_fits(array, np.int32) for array in host.values()):
        host = _numbered_anew(host)
    labels |= {name: jnp.asarray(array.astype(np.int32)) for name, array in host.items()}
    return tuple(None if value is None else labels[name] for name, value in values.items())


def _host_integers(name: str, value: ArrayLike) -> np.ndarray:
    """The integers in NumPy, in their own width, Python's where 64 bits are too few; TypeError where they are none."""
    host = np.asarray(value)
    if host.size == 0 and not hasattr(value, "dtype"):
        return host.astype(np.int32)  # an empty list says nothing of its type
    if not np.issubdtype(host.dtype, np.integer):
        exact = np.asarray(value, object)  # NumPy makes floats of [3, 2**63]
        if all(isinstance(entry, (int, np.integer)) and not isinstance(entry, bool) for entry in exact.flat):
            return exact
    return _require_integer_type(name, host)


def _require_integer_type(name: str, array: Array | np.ndarray) -> Array | np.ndarray:
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}.")
    return array


def _fits(array: np.ndarray, dtype: type) -> bool:
    bounds = np.iinfo(dtype)
    return array.size == 0 or (bounds.min <= int(array.min()) and int(array.max()) <= bounds.max)


def _narrow(name: str, array: np.ndarray) -> np.ndarray:
    """A host array that meets a traced one, which has been cut to 32 bits already."""
    if not _fits(array, np.int32):
        raise ValueError(f"{name} needs more than 32 bits beside a traced array; number the values anew first.")
    return array.astype(np.int32)


def _numbered_anew(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Equal integers get equal numbers across all arrays; signed and unsigned 64 bits never meet in a float."""
    flat = [array.ravel() for array in arrays.values()]
    wide = next((t for t in (np.int64, np.uint64) if all(_fits(array, t) for array in flat)), object)
    numbers = np.unique(np.concatenate([array.astype(wide) for array in flat]), return_inverse=True)[1].ravel()
    ends = np.cumsum([array.size for array in flat])[:-1]
    parts = np.split(numbers, ends)
    return {name: part.reshape(array.shape) for (name, array), part in zip(arrays.items(), parts, strict=True)}


# --- Shapes


def require_scalar(name: str, value: ArrayLike) -> None:
    """Raise ValueError unless the value is one number: several would be broadcast where they do not belong."""
    shape = jnp.shape(value)
    if shape != ():
        raise ValueError(f"{name} must be a single number, got shape {shape}. Use jax.vmap for several of them.")


def require_negatives(positive: Array, negatives: Array) -> None:
    """Raise ValueError unless positive is (...) and negatives (..., k) with k >= 1."""
    if negatives.ndim == 0 or negatives.shape[-1] == 0:
        raise ValueError(
            f"negatives must have shape (..., k) with k >= 1 on the last axis, got {negatives.shape}. "
            "Mask unwanted entries with `where` instead of passing none."
        )
    lead = negatives.shape[:-1]
    fits = positive.ndim == len(lead) and all(a == b or 1 in (a, b) for a, b in zip(positive.shape, lead, strict=True))
    if not fits:
        raise ValueError(
            f"positive must have the leading shape of negatives, {lead}, got {positive.shape}. "
            "One positive score faces the k negatives of its row."
        )


def require_broadcastable(name: str, shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Raise ValueError unless an array of this shape broadcasts to exactly the target shape."""
    try:
        fits = np.broadcast_shapes(shape, target) == tuple(target)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} of shape {shape} does not broadcast to {target}.")


def require_log_weights(log_weights: Array | np.ndarray, *, name: str = "log_weights", ndim: int | None = None) -> None:
    """Raise ValueError unless log-weights have a candidate axis, and (concrete) some mass and no NaN or +inf."""
    if log_weights.ndim == 0 or log_weights.shape[-1] == 0:
        raise ValueError(f"{name} need a last axis of n >= 1 candidates, got shape {log_weights.shape}.")
    if ndim is not None and log_weights.ndim != ndim:
        raise ValueError(f"{name} must be {ndim}-dimensional here, got shape {log_weights.shape}.")
    if is_concrete(log_weights):
        top = np.max(np.asarray(log_weights), axis=-1)
        if np.any(np.isnan(top)) or np.any(top == math.inf):
            raise ValueError(f"{name} hold NaN or +inf; a weight must be finite, or -inf for probability 0.")
        if np.any(top == -math.inf):
            raise ValueError(
                f"{name} are all -inf: no candidate is left to draw. Exclude fewer candidates, or drop the row."
            )
