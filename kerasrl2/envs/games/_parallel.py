"""Games of PettingZoo's parallel interface, stepped in Python."""

import numpy as np

from kerasrl2.envs._leaves import MalformedError
from kerasrl2.envs._masks import MASK, declares_mask
from kerasrl2.envs._world import World, as_flag, as_number, not_a_tuple

_STEP = ("observations", "rewards", "terminations", "truncations", "infos")


class ParallelWorld(World):
    """`G` games with `M` players each: row `g * M + m` is player `m` of game `g`.

    A player who leaves a game before it is over has rows that are no transitions until
    the next game begins. A game is over when nobody is left in it.

    Args:
        id: String, for messages.
        games: Sequence of `pettingzoo.ParallelEnv` with the same players, who have
            equal spaces.
    """

    always_valid = False

    def __init__(self, id, games):
        self.games, self.players = tuple(games), tuple(games[0].possible_agents)
        first = self.players[0]
        space = games[0].observation_space(first)
        actions = games[0].action_space(first)

        def look():
            observations, infos = games[0].reset(seed=0)
            return observations[first], infos[first]

        rows = len(games) * len(self.players)
        super().__init__(id, games, rows, space, actions, look)
        self._lives = np.zeros(rows, bool)

    @property
    def max_episode_steps(self):
        """None: PettingZoo does not tell."""
        return None

    def goal_judge(self):
        return None

    def reset(self, seed):
        """Seeds and resets all games; arguments and results as of `World`."""
        self._begin()
        words = [int(word) % 2**32 for word in seed]
        first = int(np.random.SeedSequence(words).generate_state(1)[0])
        observation, g = self.observation.empty(self.num_envs), 0
        try:
            for g in range(len(self.games)):
                self._put_first(observation, g, (first + g) % 2**31)
        except Exception as error:
            raise self._failure(error, "reset", g) from error
        return np.int32(self._done()), *self.observation.leaves(observation)

    def step(self, token, action):
        """Steps all games; those that are over are reset at once, as of `World`."""
        self._begin_step(token)
        actions = self.action.take(action)
        observations = self.observation.empty(2, self.num_envs)
        current, following = self.observation.halves(observations)
        outcome = np.zeros((4, self.num_envs), np.float32)
        method, g, over = "step", 0, []
        for old, both in zip(
            self._seen, self.observation.leaves(observations), strict=True
        ):
            both[1] = old  # of those who have left
        try:
            for g in range(len(self.games)):
                self._step_game(g, actions, following, outcome)
                if not self.games[g].agents:
                    over.append(g)
            for leaf in self.observation.leaves(observations):
                leaf[0] = leaf[1]
            method = "reset"
            for g in over:
                self._put_first(current, g)
        except Exception as error:
            players = len(self.players)
            given = action[g * players : (g + 1) * players]
            raise self._failure(error, method, g, given) from error
        leaves = self.observation.leaves(observations)
        self._seen = [leaf[0].copy() for leaf in leaves]
        self._done()
        return *leaves, outcome

    def close(self):
        """Closes all games, once."""
        if not self.closed:
            for game in self.games:
                game.close()
        self.closed = True

    def _step_game(self, g, actions, following, outcome):
        game, start = self.games[g], g * len(self.players)
        rows = {
            name: start + m
            for m, name in enumerate(self.players)
            if self._lives[start + m]
        }
        result = game.step({name: actions[row] for name, row in rows.items()})
        if not isinstance(result, tuple) or len(result) != len(_STEP):
            raise MalformedError(not_a_tuple(result, _STEP))
        observations, rewards, ends, cuts, infos = result
        for name, row in rows.items():
            end, cut = as_flag(ends[name]), as_flag(cuts[name])
            value = self._observed(observations[name], infos.get(name), end or cut)
            self.observation.put(following, row, value)
            outcome[:, row] = as_number(rewards[name]), end, cut, True
            self._lives[row] = name in game.agents
            if end or cut:
                self._lives[row] = False
                self._end_episode(row, infos.get(name))

    def _put_first(self, observation, g, seed=None):
        """Resets game `g` and writes what its players see."""
        observations, infos = self.games[g].reset(seed=seed)
        missing = [name for name in self.players if name not in observations]
        if missing:
            raise MalformedError(
                f"Expected an observation of every player at the start. Received: none "
                f"of {', '.join(map(repr, missing))}"
            )
        for m, name in enumerate(self.players):
            row = g * len(self.players) + m
            value = self._observed(observations[name], infos.get(name), False)
            self.observation.put(observation, row, value)
            self._lives[row] = True
        if seed is not None:  # by `reset` of all, not of one game within a step
            self._seen = [leaf.copy() for leaf in self.observation.leaves(observation)]

    def _observed(self, observation, info, ended):
        """An observation with its mask; who waits has one action, which does nothing.

        That is the first one, the least number of the space.
        """
        if self.masks is None:
            return observation
        declared = declares_mask(self.observation_space) and MASK in observation
        given = observation if declared else (info or {})
        if MASK in given and not ended:
            given = {**given, MASK: one_legal(given[MASK])}
        if declared:
            return self.masks.observed(given, info, ended)
        return self.masks.observed(observation, given, ended)


def one_legal(mask):
    """A mask, or where nothing is legal one of the first action alone."""
    mask = np.asarray(mask)
    if mask.any():
        return mask
    waiting = np.zeros_like(mask)
    waiting[0] = 1
    return waiting
