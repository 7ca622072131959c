"""Evaluation over an exact number of episodes, without favouring short ones."""

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._state import state_of
from kerasrl2.training.collect import ActorState, begin_episodes, collect
from kerasrl2.training.contract import Player, check_contract
from kerasrl2.training.episodes import RunningEpisodes, no_episodes
from kerasrl2.training.programs import Program

_BLOCK_STEPS = 256


class Played(NamedTuple):
    """Progress of an evaluation.

    Attributes:
        actor: `ActorState`.
        running: `RunningEpisodes`.
        counted: `[N]` int32, episodes that each copy has finished, up to its quota.
        returns: `[N, K]` float32, their undiscounted returns.
        lengths: `[N, K]` int32, their lengths in env steps.
    """

    actor: ActorState
    running: RunningEpisodes
    counted: Any
    returns: Any
    lengths: Any


class Evaluator(tf.Module):
    """Plays whole episodes in `N` copies of an environment.

    Each copy has a quota, fixed beforehand, and the first episodes that it starts
    count, whether they are short or long. Compiled without XLA, whose compilation would
    take longer than most evaluations.

    Args:
        env: `Environment`, not the one of training, whose episodes it would cut short.
        episodes: Integer, total number of episodes.
    """

    def __init__(self, env, episodes):
        super().__init__(name="evaluator")
        check_positive_integer("episodes", episodes)
        self.env, self.episodes = env, episodes
        share, rest = divmod(episodes, env.num_envs)
        self._quota = [share + (i < rest) for i in range(env.num_envs)]
        self._programs = {}

    def run(self, agent, greedy=True, seed=0, max_episode_steps=None):
        """Plays; returns the dictionary that `Agent.evaluate` documents."""
        check_contract(agent, Player)
        num_envs, quota = self.env.num_envs, max(self._quota)
        with self.env.errors():
            played = Played(
                begin_episodes(agent, self.env, tf.constant([seed % 2**31, 1])),
                no_episodes(num_envs),
                tf.zeros([num_envs], tf.int32),
                tf.zeros([num_envs, quota]),
                tf.zeros([num_envs, quota], tf.int32),
            )
            step = 0
            program = self._program(agent, greedy, played)
            while bool(tf.reduce_any(played.counted < self._quota)):
                seeds = tf.constant([seed % 2**31, step], tf.int32)
                played = program(seeds, played)
                step += _BLOCK_STEPS
                self._check_length(played, max_episode_steps)
        wanted = tf.sequence_mask(self._quota, quota)
        returns = tf.cast(tf.boolean_mask(played.returns, wanted), tf.float64)
        lengths = tf.cast(tf.boolean_mask(played.lengths, wanted), tf.float64)
        return {
            "return": float(tf.reduce_mean(returns)),
            "return_std": float(tf.math.reduce_std(returns)),
            "return_min": float(tf.reduce_min(returns)),
            "return_max": float(tf.reduce_max(returns)),
            "episode_length": float(tf.reduce_mean(lengths)),
            "episodes": self.episodes,
        }

    def _check_length(self, played, limit):
        active = played.counted < self._quota
        running = tf.reduce_max(tf.where(active, played.running.lengths, 0))
        longest = int(tf.maximum(running, tf.reduce_max(played.lengths)))
        if limit is not None and longest > limit:
            raise ValueError(
                f"Expected episodes of at most {limit} steps (`max_episode_steps`). "
                f"Received: one of {longest} or more in {self.env.id!r}."
            )

    def _program(self, agent, greedy, played):
        # Keyed by structure and variables: an agent may have changed.
        env = self.env
        state = state_of(agent=agent, env=env if env.in_graph else None)
        parts = [id(variable) for variable in state.variables.values()]
        key = (greedy, state.structure, *parts)
        if key not in self._programs:
            block = tf.function(
                lambda seed, played: self._play(agent, greedy, seed, played),
                autograph=False,
            )
            shared = ("evaluate", greedy, self.episodes) if env.in_graph else None
            example = tf.constant([0, 0]), played
            program = Program(block, example, state, shared)
            self._programs[key] = program, agent
        return self._programs[key][0]

    def _play(self, agent, greedy, seed, played):
        """Plays until all quotas are met, for at most a block of vector steps."""
        actor, rollout = collect(
            agent,
            self.env,
            played.actor,
            _BLOCK_STEPS,
            seed,
            env_steps=tf.convert_to_tensor(agent.env_steps),
            greedy=greedy,
            keep="signals",
            until=lambda ended: tf.reduce_all(played.counted + ended >= self._quota),
        )
        ended = (rollout.terminated | rollout.truncated) & rollout.valid
        slots = tf.range(max(self._quota))

        def count(t, running, counted, returns, lengths):
            valid = rollout.valid[t]
            total = running.returns + tf.where(valid, rollout.reward[t], 0.0)
            length = running.lengths + tf.cast(valid, tf.int32)
            counts = ended[t] & (counted < self._quota)
            slot = counts[:, None] & (slots == counted[:, None])
            running = RunningEpisodes(
                tf.where(ended[t], 0.0, total), tf.where(ended[t], 0, length)
            )
            return (
                t + 1,
                running,
                counted + tf.cast(counts, tf.int32),
                tf.where(slot, total[:, None], returns),
                tf.where(slot, length[:, None], lengths),
            )

        _, *counted = tf.while_loop(
            lambda t, *_: (t < _BLOCK_STEPS) & tf.reduce_any(rollout.valid[t:]),
            count,
            (0, *played[1:]),
            parallel_iterations=1,
        )
        return Played(actor, *counted)
