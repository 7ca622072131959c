"""Rainbow: a deep Q-network with all its parts."""

from typing import Literal

import keras

from kerasrl2.agents.dqn import DQN
from kerasrl2.agents.registry import register


@register("rainbow", title="Rainbow")
@keras.saving.register_keras_serializable(package="kerasrl2")
class Rainbow(DQN):
    """A `DQN` with all its parts, under the name they have together.

    Hessel et al. (2018), https://arxiv.org/abs/1710.02298: double Q-learning,
    prioritized replay, dueling and noisy networks, 3-step returns, C51. `for_env` makes
    them; the constructor takes what `DQN` takes, with the same defaults. Returns (with
    discount) outside `value_range` cannot be told apart: choose it for the environment.

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
        prioritized: bool | Literal["rank"] = True,
        alpha=0.5,
        n_step=3,
        **hyperparameters,
    ):
        """Makes an agent with all parts; any of them can be left out.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            double: Boolean, double Q-learning.
            dueling: Boolean, a value and an advantage stream.
            noisy: Boolean, `NoisyDense` in the last two layers, which explore.
            distribution: As in `DQN.for_env`.
            prioritized: Boolean or `"rank"`, as in `DQN.for_env`.
            alpha: Float, exponent of its priorities.
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
