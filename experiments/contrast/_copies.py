"""How often an anchor meets a copy of its own class among the first B of a batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments._devices import over_devices


def sizes(largest):
    return 2 ** np.arange(1, int(np.log2(largest)) + 1)


def share_with_copy(ids, largest):
    """Share of the rows whose first entry comes again among the first B, (batches,)."""
    copy = ids[:, 1:] == ids[:, :1]
    first = jnp.where(jnp.any(copy, axis=1), jnp.argmax(copy, axis=1), largest)
    return jnp.mean(first[:, None] < sizes(largest) - 1, axis=0)


@partial(jax.jit, static_argnames=("replicates", "rows", "largest"))
def sample_text(key, tokens, world, replicates, rows, largest):
    """Share with a copy in batches of words from random places, or (a wrong world) of one stretch of the text."""

    def one(key):
        place = jax.random.randint(key, (rows, largest), 0, tokens.shape[0])
        place = jnp.where(world["stretch"], place[:, :1] + jnp.arange(largest), place)
        return share_with_copy(tokens[place % tokens.shape[0]], largest)

    return over_devices(one, jax.random.split(key, replicates))


def with_copy(law, batch):
    """Probability that an anchor of this law has a copy in the batch, (batches,)."""
    p = np.asarray(law, float)[:, None] / np.sum(law)
    return np.sum(p * -np.expm1((np.asarray(batch) - 1) * np.log1p(-p)), axis=0)
