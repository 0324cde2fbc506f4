"""Checkpoints are a folder and its methods: no function of arrays."""

CASES = ()
