"""Scenes of objects before a background: graph, sampling, drawing, captions, verifier."""
