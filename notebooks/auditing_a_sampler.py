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
#     python -m nsx audit embeddings.npz -p uniform -p in-batch -p scores:0.2 -p ann:0.9
#
# Here is the same from Python, on embeddings made up to be hard in the usual ways: clusters, so that some negatives are
# false, and counts that favour a few candidates.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from nsx import audit

# %%
rng = np.random.default_rng(0)
num_groups, per_group, dimension, num_anchors = 60, 40, 32, 200
centres = rng.normal(size=(num_groups, dimension))
groups = np.repeat(np.arange(num_groups), per_group)
candidates = centres[groups] + 0.6 * rng.normal(size=(len(groups), dimension))
positive_ids = rng.choice(len(groups), num_anchors, replace=False)
anchors = candidates[positive_ids] + 0.6 * rng.normal(size=(num_anchors, dimension))
counts = 1 + 1e4 / np.arange(1, len(groups) + 1)
counts = rng.permutation(counts)

problem = audit.problem(
    anchors,
    candidates[positive_ids],
    candidates,
    cosine=True,
    positive_ids=positive_ids,
    anchor_labels=groups[positive_ids],
    candidate_labels=groups,
    counts=counts,
)

# %% [markdown]
# Every row is checked before anything is computed: a NaN, a zero vector or an index out of range is named with its row.
# Now the proposals, by name; any function from
# scores to log-weights may join them as an `audit.Proposal`.

# %%
tau = 0.1
names = ["uniform", "power:0.75", "in-batch", "scores:0.2", "ann:0.9"]
proposals = [audit.proposal(name, problem, num_negatives=32, temperature=tau) for name in names]
found = audit.audit(
    jax.random.key(0), problem, proposals, temperature=tau, num_negatives=(1, 4, 8, 32), replicates=16, max_anchors=96
)

print(f"{'proposal':12}{'effective':>14}{'false among 32':>18}{'bias':>14}{'bias, log q':>14}{'SNR, log q':>14}")
for row in found.proposals:
    columns = (row.effective_negatives, row.false_negatives, row.bias[-1], row.corrected_bias[-1])
    columns += (row.corrected_signal_to_noise[-1],)
    widths = (14, 18, 14, 14, 14)
    print(f"{row.name:12}" + "".join(f"{m.text(2):>{w}}" for m, w in zip(columns, widths, strict=True)))

# %% [markdown]
# Each number carries its standard error over anchors and draws, or the word exact. The verdicts put them into words:

# %%
for row in found.proposals:
    print(f"{row.name}: {row.verdict}.")
print(f"\nBest: {found.recommendation}.")

# %% [markdown]
# The bias as drawn (dashed) does not go away with more negatives where the sampler prefers some candidates; with the
# log-q correction (solid) it does. A bias below its own standard error is not drawn.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for row, colour in zip(found.proposals, ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"), strict=True):
    k = np.array(row.num_negatives)
    for values, style in ((row.bias, "--"), (row.corrected_bias, "-")):
        value, error = np.array([(m.value, m.standard_error) for m in values]).T
        seen = value > error
        left.errorbar(k[seen], value[seen], error[seen], ls=style, marker="o", ms=4, color=colour)
    value, error = np.array([(m.value, m.standard_error) for m in row.corrected_signal_to_noise]).T
    right.errorbar(k, value, error, marker="o", ms=4, color=colour, label=row.name)
left.set(ylabel="bias of the gradient over its length", title="Bias: dashed as drawn, solid with log q")
right.set(ylabel="signal to noise of one gradient", title="Signal to noise, with log q")
right.legend(frameon=False, fontsize=8)
for axis in (left, right):
    axis.set(xscale="log", yscale="log", xlabel="negatives")
    axis.set_xticks(k, k)
