"""The services without their models: real processes on the real bus, quick enough to be started by the dozen.

`python -m tests.standins planner|visualizer|vae [--port N] [--role ...]` is `python -m services.<name>` with
a scripted engine in place of the model: settings, fronts, workers and the turn loop are the real ones, and
neither torch nor vLLM is imported. `deployment.deployed` starts a whole system of them.
"""
