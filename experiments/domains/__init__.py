"""Negative sampling in domains: graphs, hypergraphs, maps, sounds, hospitals, sequences (chapters 000, 003)."""
