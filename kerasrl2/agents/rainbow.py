"""Rainbow: a deep Q-network with all extensions."""

import keras

from kerasrl2.agents.dqn import DQN
from kerasrl2.agents.registry import register
from kerasrl2.agents.replay_builder import Prioritized


@register("rainbow", title="Rainbow")
@keras.saving.register_keras_serializable(package="kerasrl2")
class Rainbow(DQN):
    """A `DQN` with the six extensions that are together known as Rainbow.

    Hessel et al. (2018), https://arxiv.org/abs/1710.02298: double Q-learning,
    prioritized replay, dueling and noisy networks, 3-step returns, C51. `for_env`
    combines them; the constructor has the arguments and defaults of `DQN`. Choose
    `value_range` for the environment: discounted returns outside it are clipped.

    Example:
    >>> agent = Rainbow.for_env("CartPole-v1", value_range=(0.0, 100.0), seed=0)
    >>> agent.double, agent.buffer.n_step, agent.action_values.num_atoms
    (True, 3, 51)
    """

    @classmethod
    def for_env(
        cls,
        env,
        *,
        double=True,
        dueling=True,
        noisy=True,
        distribution="categorical",
        prioritized: Prioritized = True,
        alpha=0.5,
        n_step=3,
        **hyperparameters,
    ):
        """Makes an agent with all extensions; each of them can be turned off.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            double: Boolean, double Q-learning.
            dueling: Boolean, separate value and advantage streams.
            noisy: Boolean, `NoisyDense` in the last two layers, for exploration.
            distribution: As in `DQN.for_env`.
            prioritized: As in `DQN.for_env`.
            alpha: Float, exponent of the priorities.
            n_step: Integer, rewards summed in a target.
            **hyperparameters: The other keywords of `DQN.for_env`.

        Returns:
            A `Rainbow`.
        """
        return super().for_env(
            env,
            double=double,
            dueling=dueling,
            noisy=noisy,
            distribution=distribution,
            prioritized=prioritized,
            alpha=alpha,
            n_step=n_step,
            **hyperparameters,
        )
