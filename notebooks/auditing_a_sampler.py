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
# # Auditing a sampler
#
# What does my negative sampler do to my gradient, and which one should I use? Give the audit your embeddings. On the
# command line, with arrays `anchors`, `positives`, `candidates` (and perhaps labels and counts) in one file:
#
#     python -m nsx audit embeddings.npz -p uniform -p in-batch -p scores:2 -p ann:0.9
#
# Here is the same from Python, on embeddings made up to be hard in the usual ways. Candidates come in 60 clusters, so
# that some negatives are false; their counts follow Zipf's law, and popularity is their first coordinate. Each anchor
# has eight positives, drawn from the model's own softmax, as if training were done: several, because what counts in the
# end is an average over them.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from nsx import audit

# %%
rng = np.random.default_rng(0)
num_groups, per_group, dimension, num_anchors, num_positives, most = 60, 20, 16, 32, 8, 64
groups = np.repeat(np.arange(num_groups), per_group)
counts = rng.permutation(1e5 / np.arange(1, len(groups) + 1))
centres = rng.normal(size=(num_groups, dimension))
candidates = centres[groups] + 0.6 * rng.normal(size=(len(groups), dimension))
candidates[:, 0] = np.log(counts) - np.log(counts).mean()
own = rng.integers(num_groups, size=num_anchors)
anchors = 0.5 * centres[own]
anchors[:, 0] = 0.7
wanted = jnp.asarray(anchors @ candidates.T)[:, None, :]
positive_ids = np.ravel(jax.random.categorical(jax.random.key(1), wanted, shape=(num_anchors, num_positives)))

problem = audit.from_embeddings(
    np.repeat(anchors, num_positives, axis=0),
    candidates[positive_ids],
    candidates,
    positive_ids=positive_ids,
    anchor_labels=np.repeat(own, num_positives),
    candidate_labels=groups,
    counts=counts,
)
names = ["uniform", "power:0.75", "in-batch", "scores:2", "ann:0.9"]
proposals = [audit.named_proposal(name, problem, k=most) for name in names]
found = audit.audit(jax.random.key(0), problem, proposals, temperature=1.0, k=(1, 4, 16, most), replicates=16)
print(found.about)

# %% [markdown]
# `power:0.75` draws by count to the 0.75, `in-batch` by count, `scores:2` from the model's softmax at twice its
# temperature, `ann:0.9` from an approximate index that finds nine in ten of the nearest and misses at random. Any
# log-weights, or function from scores to them, may join as an `audit.Proposal`, or named by `audit.register_proposal`.
#
# ## What is drawn
#
# Before any draw, the proposal's log-weights say whom it will meet. `exp` of their **entropy** is the number of
# **effective negatives**: so many candidates, equally likely, would be as uncertain. A proposal with fewer of them than
# draws (left of the dashed line) spends draws on copies. Few are not bad in themselves: what costs is to miss the
# **hard negatives**, here the hardest 1 % of an anchor's true negatives by score, or to meet **false** ones, which
# share the anchor's label and should be pulled, not pushed. Laws by count gather on the popular, laws by score on the
# near: there most of the hard ones are, and nearly all false ones. The sharper `ann:0.9` meets a hard one less often
# than `scores:2` does for that very reason: false ones take its place.

# %%
colours = dict(zip(names, ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"), strict=True))
figure, (effective, hard, false) = plt.subplots(1, 3, figsize=(10, 2.5), sharey=True, layout="constrained")
for row in found.proposals:
    effective.barh(row.name, row.effective_negatives.value, color=colours[row.name])
    hard.barh(row.name, row.hard_probability.value, color=colours[row.name])
    false.barh(row.name, row.false_negatives.value, color=colours[row.name])
effective.axvline(most, color="k", ls="--", lw=1)
effective.set(xscale="log", xlim=(1, 2000), xlabel=f"effective, of {len(groups)}", title="exp(entropy)")
effective.set_xticks((1, 10, 100, 1000), ("1", "10", "100", "1000"))
effective.invert_yaxis()
hard.set(xlim=(0, 1), xlabel=f"probability among {most} draws", title="A hard negative")
false.set(xlim=(0, most), xlabel=f"expected among {most} draws", title="False negatives")

# %% [markdown]
# ## Where training will go
#
# The gradient with $k$ draws, averaged over draws, differs from that of the full softmax. For a single pair of anchor
# and positive the length of that difference, over the length of the full gradient, is the **bias** (left). Dashed is
# the loss as drawn, solid with the log-q correction, which subtracts $\log k q_j$ from each negative's score.
#
# Part of it points one way for one positive and another way for the next, and cancels over the positives of an anchor.
# What is left is the **drift** (right), which moves the place where training ends. See `uniform` as drawn: the bias is
# large, and no drift is found. That loss fits $\log p_j/q_j$, which is right where $q$ is constant; log q does harm
# here, since a few draws spread evenly say little about the softmax's sum. The laws by count fit $\log p_j/q_j$ too,
# and so unlearn popularity: as drawn their drift *grows* with $k$, and log q mends most of it. A law close to the
# model's needs log q as well, but then few draws.
#
# Judge by drift. In the [claim `audit_predicts`](../paper_repro.md#audit_predicts) the drift before training ranks what
# eighteen samplers then cost, with a rank correlation of 0.8 to 0.9; the bias of pairs ranks them less well. Bars are
# standard errors, over anchors and draws; a value below its own is not told from zero.


# %%
def curves(axis, quantity):
    """A quantity against k for every proposal: dashed as drawn, solid with log q."""
    for row in found.proposals:
        for side, style, label in ((row.plain, "--", None), (row.corrected, "-", row.name)):
            measured = getattr(side, quantity)
            value = [m.value for m in measured]
            error = [m.standard_error for m in measured]
            axis.errorbar(row.k, value, error, label=label, ls=style, marker="o", ms=4, color=colours[row.name])
    axis.set(xscale="log", xlabel="negatives k")
    axis.set_xticks(row.k, row.k)
    axis.minorticks_off()


figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
curves(left, "bias")
curves(right, "drift")
left.set(ylim=(-0.03, 1), ylabel="over the length of the full gradient", title="Bias of single pairs")
right.set(title="Drift: averaged over an anchor's positives")
right.legend(frameon=False, fontsize=8, title="dashed as drawn, solid with log q", title_fontsize=8)

# %% [markdown]
# ## How noisy it is
#
# **Signal to noise** (left) is the length of the mean gradient over its standard deviation. It grows like $\sqrt k$
# (dotted) where the law is close to the model's, more slowly where few of the draws matter. It says how much one
# gradient can be trusted, not where it leads: `in-batch` as drawn is surer of itself than with log q, and wrong. Nor
# does it rank how far training scatters, which also depends on how hard the loss pulls back. Use it to choose $k$ once
# the sampler is chosen. The **error** (right) holds bias and noise together.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
curves(left, "signal_to_noise")
curves(right, "error")
k = np.array([1, most])
left.plot(k, 1.3 * np.sqrt(k), "k:", lw=1)
left.annotate(r"$\sqrt{k}$", (4, 3.0), ha="right")
left.set(yscale="log", ylabel="signal to noise of one gradient", title="Signal to noise")
left.set_yticks((0.5, 1, 2, 5, 10), ("0.5", "1", "2", "5", "10"))
left.minorticks_off()
right.set(ylim=(0, None), ylabel="over the length of the full gradient", title="Error: bias and noise")
right.legend(frameon=False, fontsize=8, title="dashed as drawn, solid with log q", title_fontsize=8)

# %% [markdown]
# The verdicts put the numbers into words, and the recommendation goes by the same drift. What the standard errors do
# not tell apart is called so, with the pairs that it would take; false negatives that are named are yours to exclude.

# %%
for row in found.proposals:
    print(f"{row.name}: {row.verdict}.")
print(f"\nBest: {found.recommendation}.")
