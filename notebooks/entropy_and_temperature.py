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
# # Entropy and temperature
#
# A temperature decides how many negatives share the weight. Read through the entropy of the softmax, it stops being a
# number to tune: ask for so many effective negatives, and solve for it.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

from nsx import entropy

# %% [markdown]
# ## The curve
#
# Two anchors with 512 negatives each: one whose scores differ widely, one whose scores are much alike. The entropy
# $H(\tau)$ climbs from $\log 1$ to $\log 512$; its slope is $\mathrm{Var}(s)/\tau^3$, which is where the next step of a
# schedule will bite. Below the freezing temperature (dotted) a few negatives carry the loss, however many there are.

# %%
wide_key, narrow_key, drift_key = jax.random.split(jax.random.key(0), 3)
n = 512
anchors = {
    "scores of spread 1": jax.random.normal(wide_key, (n,)),
    "scores of spread 0.2": 0.2 * jax.random.normal(narrow_key, (n,)),
}
tau = jnp.logspace(-2.5, 1.5, 161)
curves = {name: (entropy.entropy(s, tau), entropy.entropy_slope(s, tau)) for name, s in anchors.items()}

# %% [markdown]
# ## The temperature for a chosen entropy
#
# `temperature_for_entropy` inverts the curve, and is differentiable in the scores and in the target.

# %%
target = jnp.log(16.0)
for name, s in anchors.items():
    solved = entropy.temperature_for_entropy(s, target)
    per_negative = jax.grad(entropy.temperature_for_entropy, argnums=1)(s, target) / 16
    effective = entropy.effective_negatives(s, solved)
    print(f"{name}: {effective:.2f} effective at temperature {solved:.4f}, {per_negative:.4f} more for a 17th")

# %% [markdown]
# ## Holding it while the scores move
#
# During training the scores spread out, and a fixed temperature freezes onto ever fewer negatives. A controller holds
# the entropy instead: a damped Newton step in $\log\tau$ each time, a pure function for any training loop.

# %%
steps = 200
controller = entropy.hold_entropy(float(target), rate=0.5, initial_temperature=0.3)
directions = jax.random.normal(drift_key, (8, n))


def scores_at(step):
    """Scores of a batch of 8 anchors that grow apart as training goes on."""
    return (0.2 + 2.0 * step / steps) * directions


def one_step(state, step):
    """The controller's temperature, and the mean number of effective negatives with it and with a fixed one."""
    scores = scores_at(step)
    temperature, state = controller.update(scores, state)
    effective = lambda t: jnp.exp(jnp.mean(entropy.entropy(scores, t)))
    return state, (temperature, effective(temperature), effective(0.3))


_, (temperature, held, fixed) = jax.lax.scan(one_step, controller.init(scores_at(0)), jnp.arange(steps))
print(f"after {steps} steps: held {held[-1]:.1f} of {n}, fixed temperature {fixed[-1]:.1f}")

# %%
figure, (first, second, third) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
for (name, s), colour in zip(anchors.items(), ("#0072B2", "#D55E00"), strict=True):
    first.plot(tau, curves[name][0], color=colour, label=name)
    second.plot(tau, curves[name][1], color=colour, label=name)
    first.plot(entropy.temperature_for_entropy(s, target), target, "ko", ms=5)
    first.axvline(entropy.freezing_temperature(s), color=colour, ls=":", lw=1)
first.axhline(target, color="k", ls="--", lw=1)
first.set(xscale="log", xlabel="temperature", ylabel="entropy, nats", title="16 effective negatives; dotted: frozen")
second.set(xscale="log", yscale="log", ylim=(1e-4, 2e2), xlabel="temperature", ylabel=r"$dH/d\tau$", title="The slope")
third.plot(held, color="#0072B2", label="held by the controller")
third.plot(fixed, color="#7F7F7F", label="temperature fixed at 0.3")
third.axhline(16, color="k", ls="--", lw=1)
third.set(yscale="log", xlabel="step", ylabel="effective negatives", title="While the scores spread")
for axis in (second, third):
    axis.legend(frameon=False, fontsize=8)
