"""PPO in one file: the whole algorithm, top to bottom, from the package's components.

    python examples/ppo_one_file.py [--steps N] [--seed N]

Proximal policy optimisation, Schulman et al. (2017), https://arxiv.org/abs/1707.06347,
on generalized advantages, Schulman et al. (2016), https://arxiv.org/abs/1506.02438.
`kerasrl2.agents.PPO` makes the same numbers of the same seed; tests/test_one_file.py
compares all weights, bit for bit (XLA, which fuses each program in its own way, rounds
some sums of the two differently). What the agent has beside: checks, saving, resuming,
callbacks, normalisation, policies that remember, a guard against NaN.

Shapes: `T` steps of a rollout, `N` environments, `B` rows of a minibatch.
"""

import argparse
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kerasrl2 import distributions, envs, layers, losses, returns
from kerasrl2.permutations import random_permutation
from kerasrl2.statistics import global_norm, masked_moments

ENV, STEPS, SEED = "CartPole-v1", 100_000, 1
NUM_ENVS, ROLLOUT_LENGTH = 8, 32  # N and T: an iteration plays N * T = 256 steps ...
NUM_EPOCHS, BATCH_SIZE = 20, 128  # ... and learns from each of them 20 times
HIDDEN = (64, 64)
LEARNING_RATE, MAX_GRADIENT_NORM = 1e-3, 0.5
GAMMA, LAMBDA, CLIP_RANGE = 0.98, 0.8, 0.2
VALUE_COEFFICIENT, ENTROPY_COEFFICIENT = 0.5, 0.0
REPORTS = 10


class Rollout(NamedTuple):
    """`T` steps of `N` environments, all tensors `[T, N, ...]`."""

    observation: Any
    action: Any
    reward: Any
    terminated: Any  # in a state of value 0
    truncated: Any  # cut by the time limit: the state after it still has a value
    next_observation: Any  # the true successor, not the first state of a new episode


class Batch(NamedTuple):
    """The same steps as the loss sees them, `[T * N, ...]` in any order."""

    observation: Any
    action: Any
    log_prob: Any  # of the action, under the policy that took it
    advantage: Any
    target: Any  # what the value is fitted to


class Play(NamedTuple):
    """Where the environments stand, and how episodes went."""

    state: Any
    observation: Any  # [N, ...], what to act on next
    running: Any  # [N], return so far of the episodes under way
    finished: Any  # [2], episodes that ended and the sum of their returns


def make_network(shape, head):
    """Maps observations to the parameters of the policy and to the state's value.

    Two stacks of dense layers with tanh, and a linear one on each: small weights let
    the policy start out nearly uniform. A Gaussian also has deviations of its own.
    """
    std = "independent" if head.kind == "gaussian" else None
    return layers.actor_critic(shape, head.num_parameters, HIDDEN, gaussian_std=std)


def random_seeds(shape, seed):
    """`[*shape, 2]`, new seeds made of one: all random functions here take seeds."""
    return tf.random.stateless_uniform(
        [*shape, 2], seed, None, None, tf.int32, alg="philox"
    )


def make_array(shape, dtype):
    """Room for a rollout's rows `[N, *shape]`."""
    return tf.TensorArray(dtype, ROLLOUT_LENGTH, element_shape=[NUM_ENVS, *shape])


def collect(env, head, network, play, seed):
    """Lets the policy play `T` steps; returns where it stopped, and the `Rollout`."""
    # One for the action, one for the environment, one that only noisy networks need.
    seeds = random_seeds([ROLLOUT_LENGTH, 3], seed)
    shape, dtype = play.observation.shape[1:], play.observation.dtype
    rows = Rollout(
        observation=make_array(shape, dtype),
        action=make_array(head.action_shape, head.action_dtype),
        reward=make_array([], tf.float32),
        terminated=make_array([], tf.bool),
        truncated=make_array([], tf.bool),
        next_observation=make_array(shape, dtype),
    )

    def step(t, play, rows):
        parameters, _ = network(play.observation)
        action = head.sample(parameters, seeds[t, 0])
        # An environment whose episode ends begins the next one within the same step.
        state, after = env.step(play.state, head.to_env(action), seeds[t, 1])
        signals = after.reward, after.terminated, after.truncated
        row = Rollout(play.observation, action, *signals, after.next_observation)
        rows = tf.nest.map_structure(lambda array, x: array.write(t, x), rows, row)
        ended = after.terminated | after.truncated
        running = play.running + after.reward
        finished = tf.where(ended, [tf.ones_like(running), running], 0.0)
        finished = play.finished + tf.reduce_sum(finished, axis=1)
        running = tf.where(ended, 0.0, running)
        return t + 1, Play(state, after.observation, running, finished), rows

    # A loop of the compiled program: one of Python would be written out T times in it.
    _, play, rows = tf.while_loop(
        lambda t, *_: t < ROLLOUT_LENGTH, step, (0, play, rows)
    )
    return play, Rollout(*(array.stack() for array in rows))


def prepare(head, network, rollout):
    """Advantages, value targets and log-probabilities: the `Batch` of a `Rollout`."""

    def flat(tensor):  # [T, N, ...] to [T * N, ...]
        return tf.reshape(tensor, [-1, *tensor.shape[2:]])

    parameters, value = network(flat(rollout.observation))
    _, next_value = network(flat(rollout.next_observation))
    shape = rollout.reward.shape
    value, next_value = tf.reshape(value, shape), tf.reshape(next_value, shape)
    # Only termination ends what can still be earned: after a truncation the value of
    # the true successor stands for the rewards that were not waited for. Both cut the
    # sum of equation (16) of the paper on advantages: the next row is another episode.
    advantage = returns.generalized_advantages(
        rollout.reward,
        discount=GAMMA * (1.0 - tf.cast(rollout.terminated, tf.float32)),
        ended=rollout.terminated | rollout.truncated,
        value=value,
        next_value=next_value,
        lambda_=LAMBDA,
    )
    return Batch(
        observation=flat(rollout.observation),
        action=flat(rollout.action),
        log_prob=head.log_prob(parameters, flat(rollout.action)),
        advantage=flat(advantage),
        target=flat(advantage + value),
    )


def loss_of(head, network, batch):
    """Equation (9) of the paper on PPO, negated: a scalar to minimise."""
    parameters, value = network(batch.observation, training=True)
    log_prob = head.log_prob(parameters, batch.action)
    _, mean, variance = masked_moments(batch.advantage, feature_rank=0)
    advantage = (batch.advantage - mean) / (tf.sqrt(variance) + 1e-8)
    # Equation (7): nothing is gained by moving a probability beyond the clip range.
    policy_loss = losses.clipped_surrogate_loss(
        log_prob, batch.log_prob, advantage, CLIP_RANGE
    )
    value_loss = losses.value_loss(tf.squeeze(value, axis=-1), batch.target)
    return (
        tf.reduce_mean(policy_loss)
        + VALUE_COEFFICIENT * tf.reduce_mean(value_loss)
        - ENTROPY_COEFFICIENT * tf.reduce_mean(head.entropy(parameters))
    )


def gradient_step(head, network, optimizer, batch):
    """One step of Adam, with the gradients of all weights together cut to a length."""
    variables = network.trainable_variables
    with tf.GradientTape() as tape:
        loss = loss_of(head, network, batch)
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    scale = tf.minimum(1.0, MAX_GRADIENT_NORM / (global_norm(gradients) + 1e-6))
    optimizer.apply([gradient * scale for gradient in gradients], variables)


def learn(head, network, optimizer, batch, seed):
    """`NUM_EPOCHS` passes over all steps, each in minibatches of a new random order."""
    seeds = random_seeds([NUM_EPOCHS, 2], seed)  # the second is for losses with noise

    def epoch(e):
        order = random_permutation(NUM_ENVS * ROLLOUT_LENGTH, seeds[e, 0])
        minibatches = tf.reshape(order, [-1, BATCH_SIZE])

        def minibatch(m):
            rows = tf.nest.map_structure(lambda x: tf.gather(x, minibatches[m]), batch)
            gradient_step(head, network, optimizer, rows)
            return [m + 1]

        tf.while_loop(lambda m: m < minibatches.shape[0], minibatch, [0])
        return [e + 1]

    tf.while_loop(lambda e: e < NUM_EPOCHS, epoch, [0])


def train(env, steps, seed):
    """Trains for `steps` env steps, rounded up to whole rollouts; returns the network.

    Args:
        env: `kerasrl2.envs.Environment` of `NUM_ENVS` copies, written in TensorFlow.
        steps: Integer.
        seed: Integer, of the weights, the environments and the policy.
    """
    head = distributions.head_for(env.action_space)
    network = make_network(env.observation_space.shape, head)
    layers.seed_weights(network, seed)
    optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-5)
    optimizer.build(network.trainable_variables)

    def iterate(i, play):
        seeds = random_seeds([2], tf.stack([seed, i]))
        play, rollout = collect(env, head, network, play, seeds[0])
        batch = prepare(head, network, rollout)
        learn(head, network, optimizer, batch, seeds[1])
        return i + 1, play

    @tf.function(jit_compile=True, autograph=False)
    def block(first, last, play):  # XLA compiles many iterations as one program
        return tf.while_loop(lambda i, _: i < last, iterate, (first, play))[1]

    state, observation = env.reset(tf.constant([seed, -1]))
    play = Play(state, observation, tf.zeros([NUM_ENVS]), tf.zeros([2]))
    iterations = -(-steps // (NUM_ENVS * ROLLOUT_LENGTH))
    size = -(-iterations // REPORTS)
    for first in range(0, iterations, size):
        last = min(first + size, iterations)
        play = block(tf.constant(first), tf.constant(last), play)
        episodes, total = play.finished.numpy()
        played = last * NUM_ENVS * ROLLOUT_LENGTH
        mean = total / max(episodes, 1)
        print(f"{played:>9,} steps, {int(episodes):>6,} episodes, return {mean:6.1f}")
        play = play._replace(finished=tf.zeros([2]))
    return network


def main():
    """Trains, with a report of the episodes that ended since the last one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    train(envs.make(ENV, num_envs=NUM_ENVS), given.steps, given.seed)


if __name__ == "__main__":
    main()
