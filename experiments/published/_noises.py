"""Five laws of noise on the line: the data's, a shifted normal, p|score|, two bumps and one."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

DATA, SHIFTED, SCORE, BUMPS, BUMP = range(5)
MIRRORED = (False, False, True, True, False)


@jax.jit
def log_noise(x, noise, centre, log_sd):
    """Log-density of a noise law: normal, its mixture with its mirror image, or p|score|, a Rayleigh law mirrored."""
    sides = jnp.stack([norm.logpdf(x, centre, jnp.exp(log_sd)), norm.logpdf(x, -centre, jnp.exp(log_sd))])
    bumps = jax.nn.logsumexp(sides, axis=0) - jnp.log(2.0)
    by_score = jnp.log(jnp.abs(x)) - x**2 / 2 - jnp.log(2.0)
    return jnp.where(noise == SCORE, by_score, jnp.where(noise == BUMPS, bumps, sides[0]))


def draw_noise(key, shape, noise, centre, log_sd):
    normal_key, sign_key, radius_key = jax.random.split(key, 3)
    normal = centre + jnp.exp(log_sd) * jax.random.normal(normal_key, shape)
    radius = jnp.sqrt(2 * jax.random.exponential(radius_key, shape))
    sign = jnp.where(jnp.asarray(MIRRORED)[noise], jax.random.rademacher(sign_key, shape, normal.dtype), 1)
    return sign * jnp.where(noise == SCORE, radius, normal)
