"""Held-out requests, written by a planner and judged against what they demand."""
