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
# # The ball and the game
#
# Two places where the flat, still picture of negative sampling breaks: hierarchies, which want a curved space, and
# adversarial negatives, which do not stand still.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from nsx import games, hierarchies, poincare

# %% [markdown]
# ## The ball
#
# A tree of 40 nodes, three children each, drawn into two dimensions by the ranking loss: each node's ancestors should
# be nearer than ten nodes drawn at random. In the Poincaré ball the room grows exponentially with the radius, as the
# tree does.

# %%
num_nodes = 40
edges = np.array([(node, (node - 1) // 3) for node in range(1, num_nodes)])
relations = hierarchies.transitive_closure(edges, num_nodes=num_nodes)
trained = hierarchies.train(
    jax.random.key(3), relations, num_nodes=num_nodes, dimension=2, epochs=300, negatives=10, learning_rate=0.3
)
quality = hierarchies.reconstruction(trained.points, relations)
print(f"mean rank of an ancestor {quality.mean_rank:.2f}, mean average precision {quality.mean_average_precision:.2f}")

# %% [markdown]
# Geodesics between child and parent are arcs that bend towards the centre: the way from leaf to leaf leads past the
# root.

# %%
times = jnp.linspace(0, 1, 33)[None, :]
child, parent = (trained.points[edges[:, i]][:, None, :] for i in (0, 1))
arcs = poincare.geodesic(child, parent, times)
depth = np.floor(np.log(2 * np.arange(num_nodes) + 1) / np.log(3)).astype(int)

# %% [markdown]
# ## The game
#
# Now let a generator propose the negatives and be paid for those that fool the learner. Both losses together are a
# vector field, and the eigenvalues of its Jacobian at rest decide what training does. The generator ends as a copy of
# the data.

# %%
log_data = jnp.log(jnp.array([0.5, 0.3, 0.2]))
table = lambda parameters: parameters
rest = games.generator_equilibrium(log_data, negatives=2)
start = (rest.log_q + jnp.array([0.6, -0.3, -0.3]), rest.scores)
eta = 0.8


def spectrum_and_path(entropy_strength):
    """Eigenvalues where the game rests, and 600 simultaneous steps of the generator's law from near it."""
    losses = games.generator_learner(table, table, log_data, negatives=2, entropy_strength=entropy_strength)
    field = games.vector_field(losses)
    quiet = games.equilibrium(field, (rest.log_q, rest.scores)).players
    update = games.simultaneous(field, step_size=eta)
    advance = lambda state, _: (update.step(state), jax.nn.softmax(state.players[0]))
    path = jax.lax.scan(advance, update.init(start), length=600)[1]
    return games.linearize(field, quiet).eigenvalues, path


free, free_path = spectrum_and_path(0.0)
paid, paid_path = spectrum_and_path(0.3)
for name, values, path in (("no bonus", free, free_path), ("entropy bonus 0.3", paid, paid_path)):
    moving = values[jnp.abs(values) > 1e-3]
    decay, law = -float(moving.real.max()), ", ".join(f"{share:.3f}" for share in path[-1])
    print(f"{name}: {games.classify(moving)}, slowest decay {decay:.4f}, ends at {law}")

# %% [markdown]
# The bonus damps the rotation (the slowest eigenvalues lie further left; the one at 0 adds a constant to all logits,
# which changes nothing) and moves the rest point: the price is a generator a little flatter than the data, known in
# advance.

# %%
figure, (ball, plane, walk) = plt.subplots(1, 3, figsize=(12.5, 4.2), layout="constrained")
ball.add_patch(plt.Circle((0, 0), 1, fill=False, color="k", lw=0.8))
for arc in arcs:
    ball.plot(*arc.T, color="#BBBBBB", lw=0.8, zorder=1)
ball.scatter(*trained.points.T, c=depth, s=22, cmap="viridis_r", zorder=2)
ball.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), title="A tree in the ball, coloured by depth")
ball.set_axis_off()
for values, path, colour, name in (
    (free, free_path, "#D55E00", "no bonus"),
    (paid, paid_path, "#0072B2", "entropy bonus 0.3"),
):
    plane.plot(values.real, values.imag, "o", color=colour, label=name)
    walk.plot(path[:, 0], path[:, 1], color=colour, lw=0.9, label=name)
plane.axvline(0, color="k", ls="--", lw=1)
plane.set(xlabel="real part", ylabel="imaginary part", title="Eigenvalues at rest")
walk.plot(0.5, 0.3, "k+", ms=10, label="the data")
walk.set(xlabel="generator's share of candidate 1", ylabel="of candidate 2", title="Six hundred simultaneous steps")
plane.legend(fontsize=8, loc="center")  # framed, lest its marks be taken for eigenvalues
walk.legend(frameon=False, fontsize=8)
