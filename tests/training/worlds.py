"""Worlds in TensorFlow whose episodes are known beforehand."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import Environment, TensorFlowEnvironment
from kerasrl2.types import TimeStep


class Scripted(Environment):
    """Episodes of given lengths, whatever the action; step `t` pays `1 + t / 2`.

    Observes (copy, time in the episode, episode), each divided by 8.

    Args:
        lengths: Episode `k` of copy `i` takes `lengths[(stride * k + i) % len]` steps.
        num_envs: Number of copies.
        stride: Integer; 0 gives each copy episodes of one length.
        cut: Every how many episodes one is truncated instead of terminated; 0: none.
        next_step_reset: Whether an episode's end is followed by a row that is not a
            transition, as with Gymnasium's next-step autoreset.
        junk: Number that fills such rows: reward, observation and flags.
        fault: `(kind, clock, copy, value)`: what is returned in step `clock` (from 1)
            of one copy as `"reward"`, `"observation"` or `"next_observation"`.
    """

    in_graph = compilable = True

    def __init__(
        self,
        lengths,
        num_envs=1,
        stride=1,
        cut=0,
        next_step_reset=False,
        junk=0.0,
        fault=None,
    ):
        box = spaces.Box(-np.inf, np.inf, [3])
        super().__init__("Scripted", num_envs, box, spaces.Discrete(2))
        self.lengths, self.stride, self.cut = tf.constant(lengths), stride, cut
        self.next_step_reset, self.junk, self.fault = next_step_reset, junk, fault
        self.always_valid = not next_step_reset
        self.copy = tf.range(num_envs)

    def reset(self, seed):
        zeros = tf.zeros([self.num_envs], tf.int32)
        pending = tf.zeros([self.num_envs], tf.bool)
        state = {"episode": zeros, "time": zeros, "pending": pending, "clock": zeros}
        return state, self._observe(zeros, zeros)

    def step(self, state, action, seed):
        episode, pending = state["episode"], state["pending"]
        time, clock = state["time"] + 1, state["clock"] + 1
        index = (self.stride * episode + self.copy) % self.lengths.shape[0]
        ended = (time >= tf.gather(self.lengths, index)) & ~pending
        is_cut = tf.zeros_like(ended)
        if self.cut:
            is_cut = episode % self.cut == self.cut - 1
        reward = 1.0 + 0.5 * tf.cast(time - 1, tf.float32)
        successor = self._observe(time, episode)
        begins = pending if self.next_step_reset else ended
        first = self._observe(tf.zeros_like(time), episode + 1)
        current = tf.where(begins[:, None], first, successor)
        if self.next_step_reset:  # what is acted on in a row that does not count
            current = tf.where(ended[:, None], successor + self.junk, current)
            junk = tf.fill(tf.shape(successor), self.junk)
            successor = tf.where(pending[:, None], junk, successor)
            reward = tf.where(pending, self.junk, reward)
        junk_flag = pending & (self.junk > 0.0)
        state = {
            "episode": tf.where(begins, episode + 1, episode),
            "time": tf.where(begins, 0, time),
            "pending": ended & self.next_step_reset,
            "clock": clock,
        }
        values = {
            "reward": reward,
            "observation": current,
            "next_observation": successor,
        }
        self._break(values, clock)
        return state, TimeStep(
            **values,
            terminated=(ended & ~is_cut) | junk_flag,
            truncated=ended & is_cut,
            valid=~pending,
        )

    def _observe(self, time, episode):
        rows = tf.stack([self.copy, time, episode % 3], axis=1)
        return tf.cast(rows, tf.float32) / 8.0

    def _break(self, values, clock):
        if self.fault is None:
            return
        kind, when, copy, value = self.fault
        here = (clock == when) & (self.copy == copy)
        if kind != "reward":
            here = here[:, None]
        values[kind] = tf.where(here, value, values[kind])


class Bandit(TensorFlowEnvironment):
    """Two arms that pay 0 and 1; every step is an episode."""

    def __init__(self, num_envs=1):
        box = spaces.Box(0.0, 1.0, [1])
        super().__init__("Bandit", num_envs, box, spaces.Discrete(2))

    def initial(self, seed, n):
        return tf.ones([n, 1])

    def transition(self, physics, action):
        reward = tf.cast(action, tf.float32)
        return physics, reward, tf.ones_like(action, tf.bool)

    def observe(self, physics):
        return physics


class Counter(TensorFlowEnvironment):
    """Observes and pays the number of its row in the rollouts: `time * N + copy`."""

    def __init__(self, num_envs=1):
        box = spaces.Box(0.0, np.inf, [1])
        super().__init__("Counter", num_envs, box, spaces.Discrete(2))

    def initial(self, seed, n):
        return tf.range(float(n))

    def transition(self, physics, action):
        after = physics + float(self.num_envs)
        return after, physics, tf.zeros_like(action, tf.bool)

    def observe(self, physics):
        return physics[:, None]


def naive_episodes(env, num_steps):
    """`(return, length)` of each episode that ends in `num_steps` steps, by loops."""
    state, _ = env.reset(tf.constant([0, 0]))
    returns, lengths, finished = [0.0] * env.num_envs, [0] * env.num_envs, []
    for _ in range(num_steps):
        action = tf.zeros([env.num_envs], tf.int32)
        state, after = env.step(state, action, tf.constant([0, 0]))
        for i in range(env.num_envs):
            if not after.valid[i]:
                continue
            returns[i] += float(after.reward[i])
            lengths[i] += 1
            if after.terminated[i] or after.truncated[i]:
                finished.append((returns[i], lengths[i]))
                returns[i], lengths[i] = 0.0, 0
    return finished
