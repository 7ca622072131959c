"""Population-based training: members train, copy the better ones, and explore."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.populations.history import PopulationHistory
from kerasrl2.populations.member import AgentMember, Member
from kerasrl2.populations.population import Population
from kerasrl2.populations.ranges import Explore, Range
from kerasrl2.populations.remote import RemoteMember, remote_members
from kerasrl2.populations.selection import EloSelection, TruncationSelection

__all__ = [
    "AgentMember",
    "EloSelection",
    "Explore",
    "Member",
    "Population",
    "PopulationHistory",
    "Range",
    "RemoteMember",
    "TruncationSelection",
    "remote_members",
]
