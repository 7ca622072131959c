"""IMPALA: an actor-critic that corrects for the age of what it learns from."""

import keras

from kerasrl2.agents.a2c import A2C
from kerasrl2.agents.registry import register


@register(
    "impala",
    title="Importance weighted actor-learner",
    quick={"hidden": (8,), "num_envs": 2, "rollout_length": 5},
    settings="../zoo/impala.yaml",
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class IMPALA(A2C):
    """An `A2C` with V-trace, whose workers do not wait for one another.

    Espeholt et al. (2018), https://arxiv.org/abs/1802.01561: with `fit(..., workers=8)`
    each rollout is learned from when it arrives, although the weights have changed
    since it was begun; importance ratios, cut at `clip_rho` and `clip_c`, correct for
    that. Without workers there is nothing to correct. `for_env` chooses the settings;
    the constructor has the arguments and defaults of `A2C`.

    Example:
    >>> agent = IMPALA.for_env("CartPole-v1", seed=0)
    >>> agent.vtrace, agent.rollout_length, agent.num_envs
    (True, 20, 32)
    """

    @classmethod
    def for_env(
        cls,
        env,
        *,
        vtrace=True,
        rollout_length=20,
        num_envs=32,
        entropy_coefficient=0.01,
        **hyperparameters,
    ):
        """Makes an agent with rollouts of the paper's size.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            vtrace: Boolean; without, workers wait for one another, as with `A2C`.
            rollout_length: Integer, steps of each environment per update.
            num_envs: Integer, environments of each worker.
            entropy_coefficient: Float, weight of the entropy.
            **hyperparameters: The other keywords of `A2C.for_env`.

        Returns:
            An `IMPALA`.
        """
        return super().for_env(
            env,
            vtrace=vtrace,
            rollout_length=rollout_length,
            num_envs=num_envs,
            entropy_coefficient=entropy_coefficient,
            **hyperparameters,
        )
