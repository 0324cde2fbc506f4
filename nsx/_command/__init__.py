"""The command line: the only part of nsx that reads files, prints and draws. Loaded by `python -m nsx` alone."""
