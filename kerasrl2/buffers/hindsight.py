"""Replay with goals that were reached in place of those asked for."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2.buffers._variables import uniform
from kerasrl2.buffers.replay import ReplayBuffer

STRATEGIES = ("future", "final", "episode")
GOALS = ("achieved_goal", "desired_goal")  # entries of observations


@keras.saving.register_keras_serializable(package="kerasrl2")
class HindsightReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` that gives some transitions a goal which was reached later.

    Section 3 of Andrychowicz et al. (2017), https://arxiv.org/abs/1707.01495.
    Observations are dictionaries with `achieved_goal` and `desired_goal`. When
    transitions are drawn, `num_goals` of `num_goals + 1`, at random, get another
    desired goal, what was achieved at another step of their episode, and the reward
    (and the end) that belong to it. Episodes that are being played count up to their
    newest step.

    Args:
        capacity: Integer >= 1, transitions.
        num_envs: Integer or None, as of `ReplayBuffer`.
        strategy: `"future"`: a step from this one on; `"final"`: the last; `"episode"`:
            any.
        num_goals: Integer >= 1, the paper's `k`.
        gamma: Float in [0, 1], the discount of a step.
        seed: Integer or None, of `sample` without a seed.
        name: String or None.

    Attributes:
        compilable: Boolean, whether XLA can compile `sample`: not where rewards come
            from Python code.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.DQN.for_env("BitFlip-15", hindsight="future", seed=0)
    >>> isinstance(agent.buffer, HindsightReplayBuffer), agent.buffer.num_goals
    (True, 4)
    """

    def __init__(
        self,
        capacity,
        num_envs=None,
        *,
        strategy="future",
        num_goals=4,
        gamma=0.99,
        seed=None,
        name=None,
    ):
        check_choice("strategy", strategy, STRATEGIES)
        check_positive_integer("num_goals", num_goals)
        super().__init__(capacity, num_envs, gamma=gamma, seed=seed, name=name)
        self.strategy, self.num_goals = strategy, num_goals
        self.goal_reward, self.compilable = None, True
        self._episode = self._first = self._last = self._current = None

    def use_goals_of(self, env):
        """Sets whose rewards are computed for other goals.

        Args:
            env: `envs.Environment`; its `goal_reward` is called with achieved and
                desired goals `[B, ...]`, and returns rewards and ends, both `[B]`.
        """
        self.goal_reward, self.compilable = env.goal_reward, env.in_graph

    def build(self, observation_spec, action_spec, num_envs=None):
        super().build(observation_spec, action_spec, num_envs)
        entries = self.layout.observation
        if not isinstance(entries, dict) or not {*GOALS} <= {*entries}:
            has = ", ".join(map(repr, entries)) if isinstance(entries, dict) else "one"
            self.layout = self._ring = None
            raise ValueError(
                "Expected observations in a Dict with 'achieved_goal' and "
                f"'desired_goal', for hindsight. Received: {has}. Use a `ReplayBuffer`."
            )
        if self._episode is not None:
            return
        # At most one episode for each transition, and one more that is being played.
        self._slots = self.layout.steps + 1
        rows, slots = self.num_envs * self._slots, self.num_envs * self._slots

        def table(name, size):
            zeros = tf.zeros([size + self.num_envs], tf.int64)  # spare ones behind
            return tf.Variable(zeros, trainable=False, name=name)

        self._episode = table("episode", rows)
        self._first, self._last = table("first", slots), table("last", slots)
        self._current = tf.Variable(
            tf.zeros([self.num_envs], tf.int64), trainable=False, name="current"
        )

    def add(self, *args, **kwargs):
        """Stores one step of each environment; as of `ReplayBuffer.add`."""
        index = super().add(*args, **kwargs)
        valid = index >= 0
        number = tf.maximum(index, 0) // self.num_envs
        begins = (self._ring.begins(index) | tf.equal(number, 0)) & valid
        current = self._current + tf.cast(begins, tf.int64)
        self._current.assign(current)
        column = tf.range(self.num_envs, dtype=tf.int64)
        spare = self.num_envs * self._slots + column
        slot = column * self._slots + current % self._slots

        def write(table, where, rows, values):
            rows = tf.where(where, rows, spare)[:, None]
            table.scatter_nd_update(rows, values)

        write(self._episode, valid, self._row(number, column), slot)
        write(self._first, begins, slot, number)
        write(self._last, valid, slot, number)
        return index

    def sample(self, batch_size, seed=None, gamma=None):
        """Draws transitions, of which some have other goals; as of `ReplayBuffer`."""
        seed = self._next_seed() if seed is None else seed
        seeds = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        index, batch = super().sample(batch_size, seeds[0], gamma)
        return index, self.relabelled(index, batch, seeds[1], gamma)

    def sequences(self, *args, **kwargs):
        """Refused: goals are chosen for single transitions.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "Expected a replay buffer without hindsight, with a recurrent network: "
            "goals are chosen for single transitions. Received: a "
            f"{type(self).__name__}. Use a `ReplayBuffer`, or a network without state."
        )

    def relabelled(self, index, batch, seed, gamma=None):
        """Transitions of which some, at random, have other goals.

        Args:
            index: `[B]` int64, theirs.
            batch: `Transition` of `B` rows.
            seed: `[2]` int32.
            gamma: As of `sample`.

        Returns:
            `Transition`.
        """
        if self.goal_reward is None:
            raise ValueError(
                "Expected a goal-conditioned environment, that says what rewards other "
                "goals give: call `use_goals_of(env)`. Received: none yet"
            )
        choice, draw = tf.unstack(uniform([2, index.shape[0]], seed))
        held = tf.maximum(index, 0)
        changed = (choice * (self.num_goals + 1) < self.num_goals) & (index >= 0)
        other = self._other_step(held, draw)
        step = self._ring.get(other, batch.weight, self._powers(gamma))
        goal = step.next_observation["achieved_goal"]
        old = batch.observation["desired_goal"]
        rows = tf.reshape(changed, [-1] + [1] * (len(old.shape) - 1))
        goal = tf.where(rows, tf.cast(goal, old.dtype), old)
        achieved = batch.next_observation["achieved_goal"]
        reward, ended = self.goal_reward(achieved, goal)
        discount = tf.cast(self._powers(gamma)[1], batch.discount.dtype)
        discount = tf.where(ended, 0.0, discount)
        return batch._replace(
            observation={**batch.observation, "desired_goal": goal},
            next_observation={**batch.next_observation, "desired_goal": goal},
            reward=tf.where(changed, tf.cast(reward, tf.float32), batch.reward),
            discount=tf.where(changed, discount, batch.discount),
        )

    def _other_step(self, index, draw):
        """Indices `[B]` of steps of the same episodes, by `draw` `[B]` in [0, 1)."""
        number, column = index // self.num_envs, index % self.num_envs
        slot = tf.gather(self._episode, self._row(number, column))
        last = tf.gather(self._last, slot)
        if self.strategy == "final":
            return last * self.num_envs + column
        first = number
        if self.strategy == "episode":
            held = self._ring.counts() - self._ring.sizes()
            first = tf.maximum(tf.gather(self._first, slot), tf.gather(held, column))
        span = tf.cast(last - first + 1, draw.dtype)
        chosen = first + tf.cast(draw * span, tf.int64)
        return tf.minimum(chosen, last) * self.num_envs + column

    def _row(self, number, column):
        return column * self._slots + number % self.layout.steps

    def get_config(self):
        config = super().get_config()
        for name in ("n_step", "frame_stack", "episode_length"):
            del config[name]
        return {**config, "strategy": self.strategy, "num_goals": self.num_goals}
