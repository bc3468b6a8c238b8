"""Which role a caller needs for which RPC. What is not in the table is refused to everybody.

Whatever the role, a call sees the objects of its tenant alone: another tenant's are NOT_FOUND, exactly as if
they did not exist. `tests/integration/test_authorisation.py` tries every RPC of the contract in every role.
"""

from wanimage.keys import Role

OPEN_SERVICES = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
"""Anybody may call these: balancers and probes carry no key, and the contract is public."""

NEEDED = {
    "wanimage.v1.PlannerService/Converse": Role.USER,
    "wanimage.v1.PlannerService/Generate": Role.USER,
    "wanimage.v1.PlannerService/Watch": Role.READER,
    "wanimage.v1.PlannerService/GetSession": Role.READER,
    "wanimage.v1.PlannerService/ListSessions": Role.READER,
    "wanimage.v1.PlannerService/Fork": Role.USER,
    "wanimage.v1.PlannerService/Cancel": Role.USER,
    "wanimage.v1.PlannerService/FetchBlob": Role.READER,
    "wanimage.v1.EnhancerService/Enhance": Role.USER,
    "wanimage.v1.VisualizerService/Render": Role.USER,
    "wanimage.v1.VaeService/Encode": Role.USER,
    "wanimage.v1.VaeService/Decode": Role.USER,
    "wanimage.v1.RefinerService/Refine": Role.USER,
}
"""Full method name to the least role."""
