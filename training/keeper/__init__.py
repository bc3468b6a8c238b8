"""Learns which cells an edit leaves alone, from watching a family's visualizer paint."""
