"""Independent oracles: NumPy float64, explicit loops, no jax and no nsx."""
