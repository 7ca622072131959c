"""Pong from pixels by REINFORCE, with the discount restarted at every point.

    python examples/pong_reinforce.py [--steps N]

The set-up of https://karpathy.github.io/2016/05/31/rl/: one hidden layer of 200 units
on the difference of two frames, and returns that end at each point, since what follows
is another rally. Games are cut after 2 000 steps of four frames, which costs no more
than the point being played. Needs `pip install "kerasrl2[atari]"`. Learning to win
takes days on two cores.
"""

import argparse

import keras
from keras import layers

import kerasrl2 as krl

STEPS = 20_000_000
GAMES = 4  # per gradient step
LONGEST_GAME = 2_000
SEED = 0


@keras.saving.register_keras_serializable(package="examples")
class Motion(layers.Layer):
    """The last of two frames `[B, H, W, 2]` minus the first, flat, from -1 to 1."""

    def call(self, frames):
        frames = keras.ops.cast(frames, self.compute_dtype) / 255.0
        moved = frames[..., 1] - frames[..., 0]
        return keras.ops.reshape(moved, [-1, moved.shape[1] * moved.shape[2]])


def build_network(env):
    """Logits of the game's actions; no value."""
    frames = keras.Input(env.observation_space.shape, dtype="uint8")
    x = layers.Dense(200, activation="relu")(Motion()(frames))
    small = keras.initializers.Orthogonal(0.01)
    logits = layers.Dense(int(env.action_space.n), kernel_initializer=small)(x)
    return keras.Model(frames, logits)


def main():
    """Trains, saves and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    env = krl.envs.make("ALE/Pong-v5", num_envs=GAMES, frame_stack=2)
    agent = krl.agents.Reinforce.for_env(
        env,
        network=build_network(env),
        optimizer=keras.optimizers.RMSprop(1e-4, rho=0.99),
        gamma=0.99,
        baseline=None,
        normalize_returns=True,
        restart_discount=True,
        cut_episodes=True,
        rollout_length=min(LONGEST_GAME, steps // GAMES),
        seed=SEED,
    )
    agent.fit(env, steps=steps, epochs=max(1, steps // 100_000))
    agent.save("pong_reinforce.keras")
    played = krl.envs.make(
        "ALE/Pong-v5", frame_stack=2, max_episode_steps=min(LONGEST_GAME, steps // 8)
    )
    scores = agent.evaluate(played, episodes=1, greedy=False)
    print(f"points won less points lost: {scores['return']:.0f}")


if __name__ == "__main__":
    main()
