"""Several agents: seats of a game, matches, self-play, training in turns."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.multi_agent.matches import Match, score_of
from kerasrl2.multi_agent.seats import Seat
from kerasrl2.multi_agent.self_play import Frozen, SelfPlay
from kerasrl2.multi_agent.turns import train_in_turns

__all__ = ["Frozen", "Match", "Seat", "SelfPlay", "score_of", "train_in_turns"]
