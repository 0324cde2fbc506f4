# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of the primitives
#
# A model that learns by contrast replaces a sum over every candidate by a few negatives. Three objects describe that:
# a **sampler**, which is an array of log-weights; a **loss**, which is a function of scores; and the **bias** that the
# one puts into the gradient of the other.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

from nsx import bias, entropy, losses, samplers

# %% [markdown]
# ## A sampler is its log-weights
#
# A thousand candidates with Zipf's counts, and one anchor whose scores lean towards the frequent ones. Four laws of
# negatives, each an array of shape `(1000,)`. They compose by arithmetic: mix, exclude, temper.

# %%
n = 1000
counts = 1e6 / jnp.arange(1, n + 1)
noise_key, draw_key = jax.random.split(jax.random.key(0))
scores = 0.25 * jnp.log(counts) + 0.8 * jax.random.normal(noise_key, (n,))
positive = 40

model = samplers.from_scores(scores, temperature=0.7)
laws = {
    "uniform": jnp.zeros(n),
    "frequency to the 0.75": samplers.power(counts, exponent=0.75),
    "the model itself": model,
    "the model, one draw in five at random": samplers.mix_uniform(model, rate=0.2),
}
not_the_positive = jnp.arange(n) == positive
laws = {name: samplers.exclude(law, not_the_positive) for name, law in laws.items()}

for name, law in laws.items():
    print(f"{name:40} effective negatives {float(entropy.effective_negatives(law, 1.0)):6.1f}")

# %% [markdown]
# Draws take constant time each from an alias table, and their probabilities are there to correct the loss with.

# %%
table = samplers.alias_table(laws["frequency to the 0.75"])
negatives = samplers.draw_alias(draw_key, table, (64,))
print("the first eight:", negatives[:8])

# %% [markdown]
# ## A loss is a function of scores
#
# Scores in, one loss per example out. Where the scores come from (dot products, cosines, distances in a ball) is
# somebody else's business, and so is the sampler, except for its probabilities: `samplers.correction` says what the
# loss must know of the draws.

# %%
tau = 0.7
plain = losses.info_nce(scores[positive], scores[negatives], temperature=tau)
correction = samplers.correction(laws["frequency to the 0.75"], negatives, positive)
corrected = losses.info_nce(scores[positive], scores[negatives], temperature=tau, **correction._asdict())
full = losses.info_nce(scores[positive], jnp.delete(scores, positive), temperature=tau)
print(f"64 negatives: {plain:.3f}; corrected by log k q: {corrected:.3f}; all 999 negatives: {full:.3f} nats")

# %% [markdown]
# ## The bias is exact
#
# The full softmax pushes each candidate by its own probability. A sampler pushes by *its* probability. The difference
# is not estimated but computed, and it has derivatives in the sampler's own parameters: here in the exponent of the
# frequency, so that Newton's steps find the exponent closest to this model.

# %%
pushes = jnp.eye(n)  # the gradient of each candidate's own score


def distance(exponent):
    """Squared length of the bias of frequency^exponent against the model."""
    return jnp.sum(bias.gradient_bias(pushes, samplers.power(counts, exponent=exponent), model) ** 2)


slope = jax.jit(jax.grad(distance))
curvature = jax.jit(jax.grad(jax.grad(distance)))
best = 0.5
for _ in range(6):
    best -= float(slope(best) / curvature(best))
exponents = jnp.linspace(-0.2, 1.2, 57)
lengths = jnp.sqrt(jax.jit(jax.vmap(distance))(exponents))
print(f"closest exponent {best:.3f}, where the slope is {float(slope(best)):.1e}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, law in laws.items():
    left.plot(jnp.cumsum(samplers.probabilities(law)), label=name)
left.set(xscale="log", xlim=(1, n), xlabel="candidates, most frequent first", ylabel="share of the draws up to here")
right.plot(exponents, lengths, label="bias against the model")
right.plot(best, jnp.sqrt(distance(best)), "ko", label=f"least, at {best:.2f}")
right.axvline(0.75, color="k", ls="--", lw=1, label="0.75 of word2vec")
right.set(xlabel="exponent of the frequency", ylabel="length of the bias", ylim=(0, None))
for axis in (left, right):
    axis.legend(frameon=False, fontsize=8)

# %% [markdown]
# The popular exponent is a fact about word counts, not about your model: with the model's scores at hand, the best one
# is a few Newton steps away.
