"""The ports between the engine and what it acts on. Small: each further ability is a capability protocol of its own.

A method that cannot find out raises `Unknown`, with what it saw. It never returns a value instead: the caller decides
what an unknown answer means, and in a rollout it means waiting.
"""

from changeover.ports.hops import (
    BuffersToDisk,
    CountsRequests,
    Hop,
    InnerTier,
    LaunchContext,
    LearnsTemplates,
    MemberAgents,
    NamesFiles,
    NeedsSoftware,
    Nodes,
    PoolsInward,
    RendersConfiguration,
    RenewsCertificates,
    RoutesByAgents,
    RoutesFromOutside,
    RoutesInward,
    RunningHop,
    Serving,
    TakesConfiguration,
)
from changeover.ports.platforms import (
    Adopts,
    CallRate,
    CountsCalls,
    DeletesLater,
    KeepsLogs,
    Launches,
    Platform,
    SeesExits,
)
from changeover.ports.routers import (
    Broken,
    CanWeigh,
    ChecksAhead,
    CountsBroken,
    CountsTraffic,
    FollowsHealth,
    LosesMembers,
    Membership,
    PoolsConnections,
    Preview,
    Restored,
    Router,
    SeesAges,
)

__all__ = [
    "Adopts",
    "Broken",
    "BuffersToDisk",
    "CallRate",
    "CanWeigh",
    "CannotStart",
    "ChecksAhead",
    "CountsBroken",
    "CountsCalls",
    "CountsRequests",
    "CountsTraffic",
    "DeletesLater",
    "FollowsHealth",
    "Hop",
    "InnerTier",
    "KeepsLogs",
    "LaunchContext",
    "Launches",
    "LearnsTemplates",
    "LosesMembers",
    "MemberAgents",
    "Membership",
    "NamesFiles",
    "NeedsSoftware",
    "Nodes",
    "Platform",
    "PoolsConnections",
    "PoolsInward",
    "Preview",
    "RendersConfiguration",
    "RenewsCertificates",
    "Restored",
    "Router",
    "RoutesByAgents",
    "RoutesFromOutside",
    "RoutesInward",
    "RunningHop",
    "SeesAges",
    "SeesExits",
    "Serving",
    "TakesConfiguration",
    "Unknown",
]


class Unknown(Exception):
    """No answer, or none that can be trusted. The text names what was asked, and the cause."""


class CannotStart(Exception):
    """An instance could not be launched. The text is the reason that its software gave."""
