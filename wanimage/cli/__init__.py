"""The `wan` command: a gRPC client, a supervisor of the local stack, and a door to training.

One file a command; `main` joins them. What several commands share: `report` (errors and exit codes),
`client` (the planner's RPCs), `turn` (events into a Turn), `running` (a turn from words to files), `view`
(a turn on a terminal), `stackfile` (who runs where), `supervise` (child processes).
"""
