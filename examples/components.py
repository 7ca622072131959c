"""The parts without an agent: a policy-gradient loop of your own.

    python examples/components.py [--steps N]

Environment, network, policy head, returns and losses are functions and Keras objects;
the loop is an ordinary `tf.function` with a `tf.GradientTape`.
"""

import argparse

import keras
import tensorflow as tf

from kerasrl2 import distributions, envs, layers, losses, returns

STEPS = 100_000
NUM_ENVS, ROLLOUT_LENGTH = 32, 16
GAMMA, LAMBDA, ENTROPY = 0.99, 0.95, 0.01
SEED = 1

env = envs.make("CartPole-v1", num_envs=NUM_ENVS)
head = distributions.head_for(env.action_space)
network = layers.actor_critic(env.observation_space.shape, head.num_parameters)
layers.seed_weights(network, SEED)
optimizer = keras.optimizers.Adam(3e-3, epsilon=1e-5)
optimizer.build(network.trainable_variables)


def collect(state, observation, seed):
    """Plays `T` steps; returns where it stopped and the rollout, `[T, N, ...]`."""
    rows = []
    for t in range(ROLLOUT_LENGTH):  # unrolled while tracing
        parameters, _ = network(observation)
        action = head.sample(parameters, seed=seed + 2 * t)
        state, step = env.step(state, head.to_env(action), seed + 2 * t + 1)
        rows.append((observation, action, step))
        observation = step.observation
    return state, observation, tf.nest.map_structure(lambda *x: tf.stack(x), *rows)


@tf.function(autograph=False)
def iterate(state, observation, seed):
    """One rollout and one gradient step; also counts the episodes that ended."""
    state, observation, (seen, action, step) = collect(state, observation, seed)
    next_value = tf.reshape(
        network(tf.reshape(step.next_observation, [-1, 4]))[1], step.reward.shape
    )
    with tf.GradientTape() as tape:
        parameters, value = network(tf.reshape(seen, [-1, 4]))
        value = tf.reshape(value, step.reward.shape)  # [T, N]
        advantage = returns.generalized_advantages(
            step.reward,
            GAMMA * (1.0 - tf.cast(step.terminated, tf.float32)),
            step.terminated | step.truncated,
            value,
            next_value,
            LAMBDA,
        )
        target = tf.stop_gradient(advantage + value)
        log_prob = head.log_prob(parameters, tf.reshape(action, [-1]))
        loss = (
            tf.reduce_mean(
                losses.policy_gradient_loss(log_prob, tf.reshape(advantage, [-1]))
            )
            + 0.5 * tf.reduce_mean(losses.value_loss(value, target))
            - ENTROPY * tf.reduce_mean(head.entropy(parameters))
        )
    variables = network.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    gradients, _ = tf.clip_by_global_norm(gradients, 0.5)
    optimizer.apply(gradients, variables)
    ended = tf.reduce_sum(tf.cast(step.terminated | step.truncated, tf.int32))
    return state, observation, ended


def main():
    """Trains and prints how long episodes last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps_per_iteration = NUM_ENVS * ROLLOUT_LENGTH
    iterations = max(1, parser.parse_args().steps // steps_per_iteration)
    report_every = max(1, iterations // 10)

    state, observation = env.reset(tf.constant([SEED, 0]))
    ends = 0
    for i in range(1, iterations + 1):
        seed = tf.constant([SEED, 1_000 * i])
        state, observation, ended = iterate(state, observation, seed)
        ends += int(ended)
        if i % report_every == 0:
            length = report_every * steps_per_iteration / max(ends, 1)
            print(
                f"{i * steps_per_iteration:>7,} steps, {length:5.1f} steps an episode"
            )
            ends = 0


if __name__ == "__main__":
    main()
