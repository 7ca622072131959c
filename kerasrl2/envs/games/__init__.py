"""Environments of several players, in TensorFlow and from PettingZoo."""

import kerasrl2._startup  # noqa: F401

from kerasrl2.envs.games.auction import ContinuousDoubleAuction
from kerasrl2.envs.games.core import GameEnvironment
from kerasrl2.envs.games.pettingzoo_bridge import PettingZooEnvironment
from kerasrl2.envs.games.pettingzoo_seat import PettingZooSeat
from kerasrl2.envs.games.rock_paper_scissors import RockPaperScissors

__all__ = [
    "ContinuousDoubleAuction",
    "GameEnvironment",
    "PettingZooEnvironment",
    "PettingZooSeat",
    "RockPaperScissors",
]
