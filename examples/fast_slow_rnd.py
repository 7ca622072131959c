"""Curiosity about what will be seen next: PPO and RND with a fast-slow LSTM.

    python examples/fast_slow_rnd.py [--steps N]

The predictor of random network distillation remembers: one slow and three fast LSTM
cells (Mujika et al. 2017, https://arxiv.org/abs/1705.08639) read what is seen, and a
sample of a variational unit between them feeds the prediction. A bonus of one's own is
a subclass of `RandomNetworkDistillation` with other methods `bonus` and `loss`.
"""

import argparse

import keras
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.layers import RandomNetworkDistillation, RunningNormalization, mlp
from kerasrl2.losses import gaussian_kl

ENV = "Pendulum-v1"
NUM_ENVS, UNITS, LATENT, FEATURES, KL_WEIGHT = 8, 25, 8, 64, 0.01


class FastSlowCell(keras.layers.Layer):
    """A step of fast 0, slow, fast 1, fast 2; outputs those of fast 2 and slow."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size = units, [units] * 4
        self.fast = [keras.layers.LSTMCell(units) for _ in range(3)]
        self.slow = keras.layers.LSTMCell(units)

    def build(self, input_shape):
        self.fast[0].build(input_shape)
        for cell in (*self.fast[1:], self.slow):
            cell.build((None, self.units))

    def call(self, x, states):
        fast, slow = list(states[:2]), list(states[2:])  # the fast ones share theirs
        x, fast = self.fast[0](x, fast)
        slow_output, slow = self.slow(x, slow)
        x, fast = self.fast[1](slow_output, fast)
        x, fast = self.fast[2](x, fast)
        return keras.ops.stack([x, slow_output], axis=1), [*fast, *slow]


class FastSlowPredictor(keras.layers.Layer):
    """Predicts features of sequences `[N, T, F]`, by way of a sampled code."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        options = {"return_sequences": True, "return_state": True}
        self.rnn = keras.layers.RNN(FastSlowCell(UNITS), **options)
        self.prior, self.posterior = (keras.layers.Dense(2 * LATENT) for _ in range(2))
        self.head = keras.layers.Dense(FEATURES)

    def call(self, x, state, seed=None):
        # Features [N, T, K], KL of posterior and prior [N, T], the next state.
        outputs, *state = self.rnn(x, initial_state=list(state))
        mean, deviation = _gaussian(self.posterior(outputs[:, :, 0]))
        prior_mean, prior_deviation = _gaussian(self.prior(outputs[:, :, 1]))
        kl = gaussian_kl(mean, deviation, prior_mean, prior_deviation)
        if seed is not None:
            mean += deviation * tf.random.stateless_normal(mean.shape, seed)
        return self.head(mean), tf.reduce_sum(kl, axis=-1), state


def _gaussian(parameters):
    mean, deviation = tf.split(parameters, 2, axis=-1)
    return mean, tf.nn.softplus(deviation) + 1e-3


class FastSlowDistillation(RandomNetworkDistillation):
    """Reads the steps of each environment in order, on from rollout to rollout."""

    def initial_state(self, num_envs):
        return [tf.zeros([num_envs, UNITS])] * 4

    def errors(self, data, seed=None):
        """Squared errors and KL, `[N, T]`, and the next state."""
        x = tf.transpose(self.normalized(data["x"]), [1, 0, 2])
        features, kl, state = self.predictor(x, [s[0] for s in data["state"]], seed)
        rows = tf.reshape(x, [-1, x.shape[-1]])
        known = tf.reshape(self.target(rows), features.shape)
        return tf.reduce_mean((features - known) ** 2, axis=-1), kl, state

    def bonus(self, rollout, state):
        x = rollout.next_observation
        each = [tf.repeat(s[None], x.shape[0], axis=0) for s in state]
        data = {"x": x, "state": each}  # a row for each step, as the batch has them
        error, _, state = self.errors(data)
        return tf.transpose(error), data, state

    def loss(self, data, valid, seed):
        """With `batch_size=None` the rows are the rollout, in order: `[T * N, ...]`."""
        rollout = tf.nest.map_structure(
            lambda rows: tf.reshape(rows, [-1, NUM_ENVS, *rows.shape[1:]]), data
        )
        error, kl, _ = self.errors(rollout, seed)
        return tf.reduce_mean(error + KL_WEIGHT * kl)


def make_agent(**settings):
    """PPO on `ENV` whose intrinsic rewards are those of `FastSlowDistillation`."""
    predictor = FastSlowPredictor()
    predictor(tf.zeros([1, 1, 3]), [tf.zeros([1, UNITS])] * 4)
    target = mlp((3,), hidden=(64, FEATURES))
    bonus = FastSlowDistillation(predictor, target, RunningNormalization(clip=5.0))
    rollouts = {"num_envs": NUM_ENVS, "rollout_length": 64, "batch_size": None}
    settings = {"gamma": 0.9, "max_gradient_norm": 5.0, **rollouts, **settings}
    return krl.agents.PPO.for_env(ENV, intrinsic_reward=bonus, **settings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200_000)
    agent = make_agent()
    history = agent.fit(ENV, steps=parser.parse_args().steps, epochs=4).history
    print("bonus:", [round(value, 4) for value in history["intrinsic_reward"]])
    print("return:", agent.evaluate(ENV, episodes=5)["return"])
