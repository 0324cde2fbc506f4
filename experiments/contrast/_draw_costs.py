"""Three ways to draw from one law, what XLA counts in them, and the law that a table holds."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import samplers

NUMBERS = 2 ** np.arange(10, 21, 5)  # candidates, for the counts of operations
SOME, MORE = 1000, 2000  # draws of the two programs whose difference is the cost of a draw
ALIAS, SEARCH, RACE = range(3)


def alias(key, size, draws):
    """Abstract arguments make programs of any size without the memory."""
    table = samplers.AliasTable(jax.ShapeDtypeStruct((size,), jnp.uint32), jax.ShapeDtypeStruct((size,), jnp.int32))
    return (lambda k, t: samplers.draw_alias(k, t, (draws,))), key, table


def search(key, size, draws):
    """The textbook's: one uniform, a search of the running sums, which are given."""

    def program(k, sums):
        return jnp.searchsorted(sums, jax.random.uniform(k, (draws,), sums.dtype), method="scan_unrolled")

    return program, key, jax.ShapeDtypeStruct((size,), jnp.float32)


def race(key, size, draws):
    return (lambda k, w: jax.random.categorical(k, w, shape=(draws,))), key, jax.ShapeDtypeStruct((size,), jnp.float32)


def cost(program, size, draws):
    """Flops and fresh memory in bytes of a compiled program."""
    function, *arguments = program(jax.eval_shape(lambda: jax.random.key(0)), int(size), draws)
    compiled = jax.jit(function).lower(*arguments).compile()
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return analysis["flops"], compiled.memory_analysis().temp_size_in_bytes


def lookups(jaxpr):
    """Gathers in a program as traced, those of a loop as often as it runs."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [getattr(v, "jaxpr", v) for v in jax.tree.leaves(tuple(equation.params.values()))]
        within = sum(lookups(v) for v in inner if hasattr(v, "eqns"))
        total += (equation.primitive.name == "gather") + within * equation.params.get("length", 1)
    return total


def costs(programs):
    """Flops and memory a draw of the alias method and the race, look-ups a draw of the alias method and the search."""
    compiled = [[[cost(p, n, d) for d in (SOME, MORE)] for n in NUMBERS] for p in (programs[ALIAS], programs[RACE])]
    per_draw = np.diff(np.array(compiled, float), axis=2)[:, :, 0] / (MORE - SOME)
    key = jax.eval_shape(lambda: jax.random.key(0))
    traced = lambda p, n: (lambda f, *a: jax.make_jaxpr(f)(*a).jaxpr)(*p(key, int(n), SOME))
    counted = [[lookups(traced(p, n)) for n in NUMBERS] for p in (programs[ALIAS], programs[SEARCH])]
    return per_draw[..., 0], per_draw[..., 1], np.array(counted)


def implied(table):
    """The law of a table, and its slots: whole units counted in integers."""
    threshold, alias = np.asarray(table.threshold, np.int64), np.asarray(table.alias)
    slots = np.arange(len(alias))
    kept = np.where(alias == slots, 2**32, threshold)
    units = kept + np.bincount(alias, 2.0**32 - kept, len(alias)).astype(np.int64)
    return units / (len(alias) * 2.0**32), len(alias)
