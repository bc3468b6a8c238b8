"""The prompt enhancer."""
