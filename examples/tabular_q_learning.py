"""Q-learning with a table, and why the reward belongs inside the learning rate.

    python examples/tabular_q_learning.py [--steps N]

Chain-5 has five states in a row; entering the last one pays 1 and ends the episode. The
optimal action values are powers of gamma, so the result can be checked exactly.
"""

import argparse

import numpy as np
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.envs.exact import Chain

STEPS = 4_000
NUM_ENVS = 8
LEARNING_RATE, GAMMA = 0.8, 0.9
OPTIMUM = [[0.6561, 0.729], [0.6561, 0.81], [0.729, 0.9], [0.81, 1.0]]  # left, right
SEED = 1


def update(table, state, action, reward, discount, following):
    """`Q += lr (r + discount * max Q' - Q)`."""
    target = reward + discount * table[following].max()
    table[state, action] += LEARNING_RATE * (target - table[state, action])


def update_with_reward_outside(table, state, action, reward, discount, following):
    """A common mistake: the reward is not multiplied by the learning rate."""
    target = discount * table[following].max()
    table[state, action] += reward + LEARNING_RATE * (target - table[state, action])


def learn(rule, steps):
    """Walks the chain at random; returns the table `[5, 2]`."""
    env = Chain(NUM_ENVS, uniform_start=True)
    take_step = tf.function(env.step)
    table, rng = np.zeros([5, 2]), np.random.default_rng(SEED)
    physics, observation = env.reset(tf.constant([SEED, 0]))
    for t in range(steps // NUM_ENVS):
        action = rng.integers(2, size=NUM_ENVS)
        state = np.argmax(observation, axis=1)
        physics, step = take_step(physics, action, tf.constant([SEED, t + 1]))
        following = np.argmax(step.next_observation, axis=1)
        discount = GAMMA * (1.0 - step.terminated.numpy())  # truncation keeps it
        rows = zip(state, action, step.reward.numpy(), discount, following, strict=True)
        for row in rows:
            rule(table, *row)
        observation = step.observation
    return table


def endless(rule, gamma=0.5):
    """The value of a reward of 1 for ever: 1 / (1 - 0.5) = 2."""
    table = np.zeros([1, 1])
    for _ in range(100):
        rule(table, 0, 0, 1.0, gamma, 0)
    return table[0, 0]


def main():
    """Learns with both rules, compares them and checks the right one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps
    print("Chain-5 is one of", krl.envs.ids())

    right, wrong = learn(update, steps), learn(update_with_reward_outside, steps)
    print("state  Q*(left, right)     Q-learning          reward outside")
    for state, row in enumerate(zip(OPTIMUM, right[:4], wrong[:4], strict=True)):
        cells = ["{:.4f}, {:.4f}".format(*values) for values in row]
        print(f"{state:>5}  " + "      ".join(cells))
    np.testing.assert_allclose(right[:4], OPTIMUM, atol=1e-6)
    np.testing.assert_allclose(wrong[:4] / right[:4], 1.0 / LEARNING_RATE, atol=1e-6)

    values = endless(update), endless(update_with_reward_outside)
    print("a reward of 1 for ever, gamma 0.5: {:.4f}, not {:.4f}".format(*values))
    np.testing.assert_allclose(values, [2.0, 2.5])
    print("The wrong rule scales all values by 1 / lr = 1.25.")


if __name__ == "__main__":
    main()
