"""Chats that the shipped planner is trained on and measured with."""
