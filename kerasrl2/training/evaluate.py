"""Evaluation over exactly as many episodes as asked, without favouring short ones."""

import tensorflow as tf

from kerasrl2._checks import check_positive_integer

_BLOCK_STEPS = 256


class Evaluator(tf.Module):
    """Plays whole episodes in `N` copies of an environment.

    Copy `i` plays a number of episodes fixed beforehand, the first ones it starts; so
    an episode counts whether it is short or long. A plain graph: evaluation is too
    short for XLA's compilation to pay.

    Args:
        env: `Environment` of its own; sharing the training environment would cut its
            episodes short.
        episodes: Integer, how many episodes in all.
    """

    def __init__(self, env, episodes):
        super().__init__(name="evaluator")
        check_positive_integer("episodes", episodes)
        self.env, self.episodes = env, episodes
        share, rest = divmod(episodes, env.num_envs)
        self.quota = tf.constant([share + (i < rest) for i in range(env.num_envs)])
        self.max_quota = share + bool(rest)
        self._blocks = {}

    def run(self, agent, greedy=True, seed=0, max_episode_steps=None):
        """Plays; returns the dictionary `Agent.evaluate` describes."""
        num_envs, quota = self.env.num_envs, self.max_quota
        with self.env.errors():
            env_state, observation = self.env.reset(tf.constant([seed % 2**31, 1]))
            counted = tf.zeros([num_envs], tf.int32)
            running = tf.zeros([num_envs]), tf.zeros([num_envs], tf.int32)
            table = tf.zeros([num_envs, quota]), tf.zeros([num_envs, quota], tf.int32)
            carry, step = (env_state, observation, counted, running, table), 0
            block = self._block(agent, greedy, carry)
            while bool(tf.reduce_any(counted < self.quota)):
                seeds = tf.constant([seed % 2**31, step], tf.int32)
                carry = block(seeds, carry)
                _, _, counted, running, table = carry
                step += _BLOCK_STEPS
                under_way = tf.where(counted < self.quota, running[1], 0)
                self._check_length(under_way, table[1], max_episode_steps)
        wanted = tf.sequence_mask(self.quota, quota)
        returns = tf.cast(tf.boolean_mask(table[0], wanted), tf.float64)
        lengths = tf.cast(tf.boolean_mask(table[1], wanted), tf.float64)
        return {
            "return": float(tf.reduce_mean(returns)),
            "return_std": float(tf.math.reduce_std(returns)),
            "return_min": float(tf.reduce_min(returns)),
            "return_max": float(tf.reduce_max(returns)),
            "episode_length": float(tf.reduce_mean(lengths)),
            "episodes": self.episodes,
        }

    def _check_length(self, under_way, finished, limit):
        longest = int(tf.maximum(tf.reduce_max(under_way), tf.reduce_max(finished)))
        if limit is not None and longest > limit:
            raise ValueError(
                f"Expected episodes of at most {limit} steps (`max_episode_steps`). "
                f"Received: one of {longest} or more in {self.env.id!r}."
            )

    def _block(self, agent, greedy, carry):
        key = (id(agent), greedy)
        if key not in self._blocks:

            def block(seed, carry):
                return self._play(agent, greedy, seed, *carry)

            # Concrete, or TensorFlow warns of retracing once there were a few agents.
            self._blocks[key] = tf.function(block, autograph=False)
            self._blocks[key] = self._blocks[key].get_concrete_function(
                tf.constant([0, 0]), carry
            )
        return self._blocks[key]

    def _play(
        self, agent, greedy, seed, env_state, observation, counted, running, table
    ):
        """Plays until all quotas are met, at most a block of vector steps."""
        seeds = tf.random.stateless_uniform(
            [_BLOCK_STEPS, 2, 2], seed, None, None, tf.int32, alg="philox"
        )
        slots = tf.range(self.max_quota)

        def step(t, env_state, observation, counted, running, table):
            action = agent.act(observation, training=not greedy, seed=seeds[t, 0])
            env_state, after = self.env.step(env_state, action, seeds[t, 1])
            returns = running[0] + tf.where(after.valid, after.reward, 0.0)
            lengths = running[1] + tf.cast(after.valid, tf.int32)
            ended = (after.terminated | after.truncated) & after.valid
            counts = ended & (counted < self.quota)
            slot = counts[:, None] & (slots == counted[:, None])
            table = (
                tf.where(slot, returns[:, None], table[0]),
                tf.where(slot, lengths[:, None], table[1]),
            )
            running = tf.where(ended, 0.0, returns), tf.where(ended, 0, lengths)
            counted = counted + tf.cast(counts, tf.int32)
            return t + 1, env_state, after.observation, counted, running, table

        return tf.while_loop(
            lambda t, s, o, counted, r, b: (
                (t < _BLOCK_STEPS) & tf.reduce_any(counted < self.quota)
            ),
            step,
            (0, env_state, observation, counted, running, table),
            parallel_iterations=1,
        )[1:]
