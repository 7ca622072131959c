"""Evaluation over an exact number of episodes, without favouring short ones."""

import time
from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._memory import check_room
from kerasrl2._state import state_of
from kerasrl2.training.collect import ActorState, begin_episodes, collect
from kerasrl2.training.contract import Player, check_contract
from kerasrl2.training.episodes import RunningEpisodes, no_episodes
from kerasrl2.training.infos import InfoMeans, check_info_keys, with_success_rate
from kerasrl2.training.interrupts import poll
from kerasrl2.training.programs import Program
from kerasrl2.training.progress import tell_of_no_end

_BLOCK_STEPS = 256
MAX_EPISODE_STEPS = 100_000  # of an environment that has no longer time limit itself
SILENT_SECONDS = 20.0  # without an episode's end, before a line says so
SCORES = ("return", "return_std", "return_min", "return_max", "episode_length",
          "episodes", "success_rate")  # fmt: skip


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

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> env = krl.envs.make("CartPole-v1", num_envs=2)
    >>> Evaluator(env, episodes=2).run(agent)["episodes"]
    2
    """

    def __init__(self, env, episodes):
        super().__init__(name="evaluator")
        check_positive_integer("episodes", episodes)
        check_room("episodes", episodes, 8 * episodes, "their returns and lengths")
        self.env, self.episodes = env, episodes
        share, rest = divmod(episodes, env.num_envs)
        self._quota = [share + (i < rest) for i in range(env.num_envs)]
        self._programs = {}

    def run(self, agent, greedy=True, seed=0, max_episode_steps="auto", info_keys=()):
        """Plays; returns the dictionary that `Agent.evaluate` documents."""
        check_contract(agent, Player)
        greedy = greedy and not getattr(agent, "acts_at_random", False)
        infos = InfoMeans(check_info_keys(info_keys, SCORES))
        limit = self._limit(max_episode_steps)
        num_envs, quota = self.env.num_envs, max(self._quota)
        infos.begin(self.env)
        with self.env.errors():
            played = Played(
                begin_episodes(agent, self.env, tf.constant([seed % 2**31, 1])),
                no_episodes(num_envs),
                tf.zeros([num_envs], tf.int32),
                tf.zeros([num_envs, quota]),
                tf.zeros([num_envs, quota], tf.int32),
            )
            step, patience = 0, _Patience(self.env, limit)
            program = self._program(agent, greedy, played)
            while bool(tf.reduce_any(played.counted < self._quota)):
                seeds = tf.constant([seed % 2**31, step], tf.int32)
                played = program(seeds, played)
                step += _BLOCK_STEPS
                patience.look(played.counted, self._longest(played, limit))
                poll()
        infos.take(self.env, lambda copy, episode: episode < self._quota[copy])
        return {**self._scores(played), **with_success_rate(infos.means())}

    def _scores(self, played):
        wanted = tf.sequence_mask(self._quota, max(self._quota))
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

    def _limit(self, given):
        """The steps an episode may take, or None."""
        if given == "auto":
            own = getattr(self.env, "max_episode_steps", None)
            return max(MAX_EPISODE_STEPS, own or 0)
        if given is not None:
            check_positive_integer("max_episode_steps", given)
        return given

    def _longest(self, played, limit):
        """Steps of the longest episode; raises if there are too many."""
        plays = played.counted < self._quota
        under_way = tf.reduce_max(tf.where(plays, played.running.lengths, 0))
        longest = int(tf.maximum(under_way, tf.reduce_max(played.lengths)))
        if limit is not None and longest > limit:
            raise ValueError(
                f"Expected episodes of at most {limit} steps (`max_episode_steps`). "
                f"Received: one of {longest} or more in {self.env.id!r}. If it ends "
                "later, give `evaluate` or `callbacks.EvaluateReturn` a larger "
                "`max_episode_steps`, None for no limit; if it may never end, give it "
                "a time limit: `gymnasium.wrappers.TimeLimit`."
            )
        return longest

    def _program(self, agent, greedy, played):
        # Keyed by structure and variables: an agent may have changed.
        env = self.env
        state = state_of(agent=agent, env=env.in_programs())
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


class _Patience:
    """Tells when no episode has ended for long, each time after twice as long."""

    def __init__(self, env, limit):
        self._env, self._limit = env, limit
        self._ended, self._wait = 0, SILENT_SECONDS
        self._since = time.monotonic()

    def look(self, counted, longest):
        """Looks at `[N]`, episodes that have ended, and the steps of the longest."""
        ended, now = int(tf.reduce_sum(counted)), time.monotonic()
        if ended != self._ended:
            self._ended, self._since, self._wait = ended, now, SILENT_SECONDS
        elif now - self._since >= self._wait:
            tell_of_no_end(self._env, longest, now - self._since, self._limit)
            self._wait *= 2.0
