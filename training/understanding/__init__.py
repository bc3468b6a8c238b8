"""Trains the understanding branch: the planner's Qwen3-VL, frozen afterwards inside the visualizer."""
