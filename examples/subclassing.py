"""A learning rule of your own: PPO with one more term in its loss.

    python examples/subclassing.py [--steps N]

The term asks the policy of a mirrored CartPole to do the mirrored thing: seen from
behind, left is right. The world is symmetric, so nothing true is lost, and each
transition teaches twice.
"""

import argparse

import keras
import tensorflow as tf

import kerasrl2 as krl

ENV = "CartPole-v1"
STEPS = 50_000
SYMMETRY_COEFFICIENT = 0.5
SEED = 1


@keras.saving.register_keras_serializable(package="examples")
class SymmetricPPO(krl.agents.PPO):
    """PPO that wants `pi(left | s) = pi(right | -s)` and `V(s) = V(-s)`."""

    metric_names = (*krl.agents.PPO.metric_names, "asymmetry")

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        seen = self.forward(batch.observation, training=True)
        mirrored = self.forward(-batch.observation, training=True)
        mirrored_logits = tf.reverse(mirrored.parameters, axis=[-1])
        error = self.head.kl(seen.parameters, mirrored_logits)
        error += krl.losses.huber(seen.value - mirrored.value)  # [B]
        asymmetry = krl.statistics.masked_mean(error, batch.valid)
        loss += SYMMETRY_COEFFICIENT * asymmetry
        return loss, {**metrics, "asymmetry": asymmetry}


def main():
    """Trains, saves, loads and evaluates the subclass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps

    agent = SymmetricPPO.for_env(
        ENV, rollout_length=32, batch_size=256, learning_rate=1e-3, seed=SEED
    )
    history = agent.fit(ENV, steps=steps, epochs=min(5, steps // 256))
    print("asymmetry:", [round(x, 4) for x in history.history["asymmetry"]])

    agent.save("symmetric.keras")
    agent = krl.load_agent("symmetric.keras", {"SymmetricPPO": SymmetricPPO})
    print(type(agent).__name__, agent.evaluate(ENV, episodes=10)["return"])


if __name__ == "__main__":
    main()
