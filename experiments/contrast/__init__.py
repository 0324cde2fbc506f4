"""Contrast, temperature, proposals: what is drawn and how hard it pushes (chapter 001)."""
