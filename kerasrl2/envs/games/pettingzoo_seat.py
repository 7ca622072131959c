"""A game of PettingZoo from the seat of one player, as a Gymnasium environment."""

import gymnasium
import numpy as np

from kerasrl2.envs._masks import MASK
from kerasrl2.envs.games._parallel import one_legal
from kerasrl2.envs.games.pettingzoo_bridge import make_game, name_of, parallel


class PettingZooSeat(gymnasium.Env):
    """What one player of a PettingZoo game sees; the others are played by agents.

    Players may have different spaces, and so different agents. An episode ends when the
    player leaves the game.

    Args:
        env: As for `PettingZooEnvironment`, but not an environment.
        player: String, the name of the player.
        others: Dictionary of the names of all other players to agents, which play
            samples of their policies, or to callables from an observation to an action.
        **kwargs: Passed to the module or callable.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(self, env, player, others, **kwargs):
        self.game = parallel(make_game(env, **kwargs))
        names = list(self.game.possible_agents)
        if player not in names or {*others} != {*names} - {player}:
            raise ValueError(
                f"Expected one of {', '.join(names)} as `player`, and `others` for all "
                f"others. Received: {player!r}, and {', '.join(others) or 'none'}"
            )
        self.player, self._others = player, dict(others)
        self.observation_space = self.game.observation_space(player)
        self.action_space = self.game.action_space(player)
        self.render_mode = getattr(self.game, "render_mode", None)
        self._seen = {}

    def reset(self, *, seed=None, options=None):
        """Begins a game: `(observation, info)` of the player."""
        super().reset(seed=seed)
        observations, infos = self.game.reset(seed=seed, options=options)
        self._seen = {n: legal(value) for n, value in observations.items()}
        return self._seen[self.player], _with_legal(infos.get(self.player))

    def step(self, action):
        """Moves all players; what `gymnasium.Env.step` returns, of the player."""
        actions = {
            name: self._chosen(name) for name in self.game.agents if name != self.player
        }
        observations, rewards, ends, cuts, infos = self.game.step(
            {**actions, self.player: action}
        )
        self._seen |= {n: legal(value) for n, value in observations.items()}
        player = self.player
        return (
            self._seen[player], float(rewards[player]), bool(ends[player]),
            bool(cuts[player]), _with_legal(infos.get(player)),
        )  # fmt: skip

    def render(self):
        """The game's own picture, by the `render_mode` it was made with."""
        return self.game.render()

    def close(self):
        """Closes the game."""
        self.game.close()

    def __str__(self):
        return f"{name_of(self.game)}, {self.player}"

    def _chosen(self, name):
        """The action of another player, an element of its space."""
        other, seen = self._others[name], self._seen[name]
        act = getattr(other, "act", None)
        action = other(seen) if act is None else act(seen, training=True)
        space = self.game.action_space(name)
        return int(action) if hasattr(space, "n") else np.asarray(action, space.dtype)


def legal(observation):
    """An observation whose mask has a legal action, also of who waits."""
    if isinstance(observation, dict) and MASK in observation:
        return {**observation, MASK: one_legal(observation[MASK])}
    return observation


def _with_legal(info):
    return legal(dict(info or {}))
