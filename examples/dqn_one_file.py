"""DQN in one file: the whole algorithm, top to bottom, from the package's components.

    python examples/dqn_one_file.py [--steps N] [--seed N]

Algorithm 1 of Mnih et al. (2015), https://doi.org/10.1038/nature14236: Q-learning from
replayed transitions, with a target network. `kerasrl2.agents.DQN` makes the same
numbers of the same seed; tests/test_one_file.py compares both networks, bit for bit.
What the agent has beside: checks, saving, resuming, callbacks, normalisation, a guard
against NaN, and the extensions up to Rainbow.

Shapes: `N` environments, `A` actions, `B` transitions of a minibatch.
"""

import argparse
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kerasrl2 import buffers, distributions, envs, exploration, layers, losses
from kerasrl2.statistics import global_norm

ENV, STEPS, SEED = "CartPole-v1", 50_000, 1
NUM_ENVS = 8  # N
HIDDEN = (256, 256)
LEARNING_RATE, MAX_GRADIENT_NORM = 1e-3, 10.0
GAMMA = 0.99
BUFFER_SIZE, BATCH_SIZE = 50_000, 64  # transitions; B
LEARNING_STARTS = 1_000  # transitions in the buffer before the first update
TRAIN_FREQUENCY, GRADIENT_STEPS = 8, 32  # steps of each environment, then updates
TARGET_UPDATE_INTERVAL = 128  # updates between two copies to the target network
INITIAL_EPSILON, FINAL_EPSILON, EPSILON_STEPS = 1.0, 0.05, 10_000
REPORTS = 10


class Learner(NamedTuple):
    """What learns, and what it learns from. All their state is in variables."""

    network: Any  # Q: observations [B, ...] to values [B, A]
    target_network: Any  # Q', an older copy of it
    optimizer: Any
    buffer: Any


class Play(NamedTuple):
    """Where the environments stand, and how episodes went."""

    state: Any
    observation: Any  # [N, ...], what to act on next
    env_steps: Any  # played so far by all environments together
    running: Any  # [N], return so far of the episodes under way
    finished: Any  # [2], episodes that ended and the sum of their returns


def make_learner(env, seed):
    """Networks with weights of a seed, an optimizer and an empty buffer."""
    shape, dtype = env.observation_space.shape, env.observation_space.dtype
    # Dense layers with ReLU and a linear one, all with orthogonal kernels.
    network = layers.q_network(shape, int(env.action_space.n), HIDDEN)
    layers.seed_weights(network, seed)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(network.trainable_variables)
    buffer = buffers.ReplayBuffer(BUFFER_SIZE, gamma=GAMMA, seed=seed)
    buffer.build(tf.TensorSpec(shape, dtype), tf.TensorSpec([], tf.int32), NUM_ENVS)
    return Learner(network, layers.frozen_copy(network), optimizer, buffer)


def random_seeds(shape, seed):
    """`[*shape, 2]`, new seeds made of one: all random functions here take seeds."""
    return tf.random.stateless_uniform(
        [*shape, 2], seed, None, None, tf.int32, alg="philox"
    )


def choose(head, explore, q_values, env_steps, seed):
    """Epsilon-greedy actions `[N]`; random ones until there is something to learn."""
    seeds = tf.random.split(seed, 2, alg="philox")
    action = explore(q_values, env_steps, seeds[0])
    anything = head.random(NUM_ENVS, seeds[1])
    return tf.where(env_steps < LEARNING_STARTS, anything, action)


def collect(env, head, explore, network, play, seed):
    """Plays `TRAIN_FREQUENCY` steps; returns where it stopped, and rows to store."""
    # One for the action, one for the environment, one that only noisy networks need.
    seeds = random_seeds([TRAIN_FREQUENCY, 3], seed)
    rows = []
    for t in range(TRAIN_FREQUENCY):  # few steps: written out in the program
        q_values = network(play.observation)
        action = choose(head, explore, q_values, play.env_steps, seeds[t, 0])
        # An environment whose episode ends begins the next one within the same step:
        # `next_observation` is the true successor, `observation` what to act on next.
        state, after = env.step(play.state, head.to_env(action), seeds[t, 1])
        signals = after.reward, after.terminated, after.truncated
        rows.append((play.observation, action, *signals, after.next_observation))
        ended = after.terminated | after.truncated
        running = play.running + after.reward
        finished = tf.where(ended, [tf.ones_like(running), running], 0.0)
        finished = play.finished + tf.reduce_sum(finished, axis=1)
        running = tf.where(ended, 0.0, running)
        env_steps = play.env_steps + NUM_ENVS
        play = Play(state, after.observation, env_steps, running, finished)
    return play, rows


def loss_of(learner, batch):
    """Mean Huber loss of the TD errors, a scalar to minimise.

    The error is `r + discount * max_b Q'(s', b) - Q(s, a)`. The buffer gives
    `discount = gamma * (1 - terminated)`: only termination ends what can still be
    earned. After a truncation, the time limit, the value of the true successor counts.
    """
    td_error = losses.q_learning_td_error(
        learner.network(batch.observation, training=True),
        batch.action,
        batch.reward,
        batch.discount,
        next_q_values=learner.target_network(batch.next_observation),
    )
    return tf.reduce_mean(losses.huber(td_error))


def gradient_step(learner, batch):
    """One step of Adam, with the gradients of all weights together cut to a length."""
    variables = learner.network.trainable_variables
    with tf.GradientTape() as tape:
        loss = loss_of(learner, batch)
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    scale = tf.minimum(1.0, MAX_GRADIENT_NORM / (global_norm(gradients) + 1e-6))
    learner.optimizer.apply([gradient * scale for gradient in gradients], variables)


def learn(learner, seed):
    """`GRADIENT_STEPS` updates, each from new random transitions of the buffer."""
    network, target_network, optimizer, buffer = learner
    ready = buffer.added() >= LEARNING_STARTS
    updates = tf.where(ready, GRADIENT_STEPS, 0)

    def copy_weights():
        layers.update_target(target_network, network, tau=1.0)
        return []

    def update(g):
        _, batch = buffer.sample(BATCH_SIZE, seed + tf.stack([0, g]))
        gradient_step(learner, batch)
        due = optimizer.iterations.value % TARGET_UPDATE_INTERVAL == 0
        tf.cond(due, copy_weights, list)  # `list()`, else: no result, as the other
        return [g + 1]

    tf.while_loop(lambda g: g < updates, update, [0])


def train(env, steps, seed):
    """Trains for `steps` env steps, rounded up to whole iterations.

    Args:
        env: `kerasrl2.envs.Environment` of `NUM_ENVS` copies, written in TensorFlow.
        steps: Integer.
        seed: Integer, of weights, environments, exploration and draws.

    Returns:
        `Learner`.
    """
    head = distributions.head_for(env.action_space)
    learner = make_learner(env, seed)
    explore = exploration.EpsilonGreedy(
        keras.optimizers.schedules.PolynomialDecay(
            INITIAL_EPSILON, EPSILON_STEPS, FINAL_EPSILON
        )
    )

    def iterate(i, play):
        seeds = random_seeds([2], tf.stack([seed, i]))
        play, rows = collect(env, head, explore, learner.network, play, seeds[0])
        # What is stored now is learned from next time: XLA need not copy a buffer that
        # is read before it is written to.
        learn(learner, seeds[1])
        for row in rows:
            learner.buffer.add(*row)
        return i + 1, play

    @tf.function(jit_compile=True, autograph=False)
    def block(first, last, play):  # XLA compiles many iterations as one program
        return tf.while_loop(lambda i, _: i < last, iterate, (first, play))[1]

    state, observation = env.reset(tf.constant([seed, -1]))
    nothing = tf.zeros([], tf.int64), tf.zeros([NUM_ENVS]), tf.zeros([2])
    play = Play(state, observation, *nothing)
    iterations = -(-steps // (NUM_ENVS * TRAIN_FREQUENCY))
    size = -(-iterations // REPORTS)
    for first in range(0, iterations, size):
        last = min(first + size, iterations)
        play = block(tf.constant(first), tf.constant(last), play)
        episodes, total = play.finished.numpy()
        played = int(play.env_steps)
        mean = total / max(episodes, 1)
        print(f"{played:>9,} steps, {int(episodes):>6,} episodes, return {mean:6.1f}")
        play = play._replace(finished=tf.zeros([2]))
    return learner


def main():
    """Trains, with a report of the episodes that ended since the last one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    train(envs.make(ENV, num_envs=NUM_ENVS), given.steps, given.seed)


if __name__ == "__main__":
    main()
