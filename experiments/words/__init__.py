"""Word embeddings: negative sampling as factorisation of a matrix of associations (chapter 002)."""
