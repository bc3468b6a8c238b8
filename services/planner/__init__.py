"""The planner: chat that thinks, writes and plans pictures. Owns sessions and turns."""
