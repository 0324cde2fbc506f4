"""Frontiers: adversarial games, hyperbolic space, approximate indexes, energies (chapters 000, 003)."""
