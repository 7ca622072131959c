"""Population-based training, and ratings of players."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.populations.elo import expected_score, updated_ratings
from kerasrl2.populations.history import PopulationHistory
from kerasrl2.populations.member import AgentMember, Member
from kerasrl2.populations.population import Population
from kerasrl2.populations.ranges import Explore, Range
from kerasrl2.populations.selection import EloSelection, TruncationSelection

__all__ = [
    "AgentMember",
    "EloSelection",
    "Explore",
    "Member",
    "Population",
    "PopulationHistory",
    "Range",
    "TruncationSelection",
    "expected_score",
    "updated_ratings",
]
