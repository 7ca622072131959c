"""No agent: a Keras model of your own, a replay buffer, and Keras' `compile` and `fit`.

    python examples/plain_keras_fit.py [--steps N]

A Python loop plays CartPole; between its turns, `fit` learns from the buffer. The mixin
`QLearningTrainStep` brings the train step and the target network; loss, schedule and
buffer are ordinary objects. Slower than `krl.agents`, but every line is yours.
"""

import argparse

import gymnasium
import keras
import numpy as np
import tensorflow as tf

import kerasrl2 as krl

STEPS = 12_000
STEPS_PER_TURN, BATCHES_PER_TURN, BATCH_SIZE = 200, 100, 128
WARM_UP = 1_000  # steps played at random
LEARNING_RATE, GAMMA = 5e-4, 0.99
EPSILON = keras.optimizers.schedules.PolynomialDecay(1.0, 2_000, 0.01)  # in batches
SEED = 1


@keras.saving.register_keras_serializable(package="examples")
class QLearner(krl.training.QLearningTrainStep, keras.Model):
    """A Q-network that `fit` trains."""

    epsilon = 1.0  # set by the callback

    @tf.function
    def greedy(self, observation):
        """`[B]` actions of the largest value."""
        return tf.argmax(self.q_network(observation), axis=1)


class Player:
    """Plays one environment, explores, and stores what happens."""

    def __init__(self, env, buffer, rng):
        self.env, self.buffer, self.rng = env, buffer, rng
        self.observation, _ = env.reset(seed=SEED)
        self.score, self.scores = 0.0, []

    def play(self, model, steps):
        """Takes `steps` steps, at random with probability `model.epsilon`."""
        for _ in range(steps):
            action = self.rng.integers(self.env.action_space.n)
            if self.rng.random() >= model.epsilon:
                action = int(model.greedy(self.observation[None])[0])
            following, reward, terminated, truncated, _ = self.env.step(action)
            self.buffer.add(
                self.observation[None], [action], [reward], [terminated], [truncated],
                following[None],
            )  # fmt: skip
            self.observation = following
            self.score += reward
            if terminated or truncated:
                self.observation, _ = self.env.reset()
                self.scores.append(self.score)
                self.score = 0.0


def main():
    """Plays and learns in turns; prints mean returns, which rise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    env = gymnasium.make("CartPole-v1")
    network = krl.layers.q_network((4,), num_actions=2, hidden=(64, 64))
    krl.layers.seed_weights(network, SEED)
    model = QLearner(network, double_q=True, tau=0.005)
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        loss=krl.losses.ImportanceWeightedTDLoss(),
        steps_per_execution=10,
    )
    buffer = krl.buffers.NumpyReplayBuffer(STEPS, gamma=GAMMA, seed=SEED)
    player = Player(env, buffer, np.random.default_rng(SEED))
    player.play(model, WARM_UP)
    data = buffer.as_dataset(BATCH_SIZE, steps=BATCHES_PER_TURN)
    schedule = krl.callbacks.ScheduleValue("epsilon", EPSILON)

    played, turns = WARM_UP, max(1, (steps - WARM_UP) // STEPS_PER_TURN)
    for turn in range(1, turns + 1):
        history = model.fit(data, callbacks=[schedule], shuffle=False, verbose=0)
        player.play(model, STEPS_PER_TURN)
        played += STEPS_PER_TURN
        if turn % max(1, turns // 10) == 0:
            print(
                f"{played:>6,} steps, epsilon {model.epsilon:.2f}, "
                f"loss {history.history['loss'][0]:6.3f}, "
                f"mean return {np.mean(player.scores[-10:]):5.1f}"
            )


if __name__ == "__main__":
    main()
