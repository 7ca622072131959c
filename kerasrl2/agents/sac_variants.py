"""Soft actor-critic with other critics, under the names they are known by."""

from types import MappingProxyType

import keras

from kerasrl2.agents.registry import register
from kerasrl2.agents.sac import SAC

_QUICK = {"hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512}


@register(
    "tqc",
    title="Truncated quantile critics",
    actions=("continuous",),
    quick={**_QUICK, "num_quantiles": 5, "dropped_quantiles": 1},
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class TQC(SAC):
    """`SAC` whose critics give quantiles, of which targets drop the highest.

    Section 3 of Kuznetsov et al. (2020), https://arxiv.org/abs/2005.04269, which takes
    five critics. The constructor has the arguments of `SAC`.

    Example:
    >>> TQC.for_env("Pendulum-v1", seed=0).critic.output_shape
    (None, 2, 25)
    """

    @classmethod
    def for_env(cls, env, *, num_quantiles=25, dropped_quantiles=2, **hyperparameters):
        """Makes an agent with truncated quantile critics.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            num_quantiles: Integer, quantiles of each critic.
            dropped_quantiles: Integer, of each critic, dropped from the top of all.
            **hyperparameters: The other keywords of `SAC.for_env`.

        Returns:
            A `TQC`.
        """
        own = {"num_quantiles": num_quantiles, "dropped_quantiles": dropped_quantiles}
        return super().for_env(env, **own, **hyperparameters)


@register(
    "redq",
    title="Randomized ensembled double Q-learning",
    actions=("continuous",),
    quick={**_QUICK, "num_critics": 3, "gradient_steps": 2, "policy_delay": 2},
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class REDQ(SAC):
    """`SAC` with many critics and many updates for each step.

    Algorithm 1 of Chen et al. (2021), https://arxiv.org/abs/2101.05982: twenty updates
    of ten critics per step, targets from the lesser of two that are drawn anew each
    time, and then one of the actor, which follows the mean of all. With
    `num_critics=2`, `target_subset=None`, `dropout=0.01` and `layer_normalization=True`
    it is DroQ (Hiraoka et al., 2022, https://arxiv.org/abs/2110.02034). The constructor
    has the arguments of `SAC`.

    Example:
    >>> agent = REDQ.for_env("Pendulum-v1", hidden=(8,), seed=0)
    >>> agent.critic.output_shape, agent.gradient_steps, agent.policy_delay
    ((None, 10), 20, 20)
    """

    @classmethod
    def for_env(
        cls,
        env,
        *,
        num_critics=10,
        target_subset=2,
        actor_reduction="mean",
        gradient_steps=20,
        policy_delay=20,
        **hyperparameters,
    ):
        """Makes an agent with an ensemble of critics.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            num_critics: Integer, critics `K`.
            target_subset: Integer or None, critics that a target looks at.
            actor_reduction: `"mean"` or `"min"`, of the critics the actor follows.
            gradient_steps: Integer, updates made at a time.
            policy_delay: Integer, critic steps between steps of the actor.
            **hyperparameters: The other keywords of `SAC.for_env`.

        Returns:
            A `REDQ`.
        """
        return super().for_env(
            env,
            num_critics=num_critics,
            target_subset=target_subset,
            actor_reduction=actor_reduction,
            gradient_steps=gradient_steps,
            policy_delay=policy_delay,
            **hyperparameters,
        )


@register("crossq", title="CrossQ", actions=("continuous",), quick={**_QUICK})
@keras.saving.register_keras_serializable(package="kerasrl2")
class CrossQ(SAC):
    """`SAC` without target networks, by batch renormalisation of its networks.

    Section 4 of Bhatt et al. (2024), https://arxiv.org/abs/1902.05605: one pass of the
    critics over the actions taken and those that follow, so that both are normalised
    by the statistics of both; Adam with `beta_1` 0.5; an actor that moves at every
    third step. The paper's critics have 2048 units a layer, here as many as the actor
    unless `critic_hidden` says so. The constructor has the arguments of `SAC`.

    Example:
    >>> agent = CrossQ.for_env("Pendulum-v1", hidden=(8,), seed=0)
    >>> agent.target_critic is None, agent.critic_optimizer.beta_1
    (True, 0.5)
    """

    adam = MappingProxyType({"beta_1": 0.5})

    @classmethod
    def for_env(
        cls,
        env,
        *,
        batch_renormalization=True,
        target_networks=False,
        policy_delay=3,
        learning_rate=1e-3,
        **hyperparameters,
    ):
        """Makes an agent without target networks.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            batch_renormalization: Boolean, of actor and critics.
            target_networks: Boolean, whether targets come from a slow copy after all.
            policy_delay: Integer, critic steps between steps of the actor.
            learning_rate: Float or Keras schedule over gradient steps.
            **hyperparameters: The other keywords of `SAC.for_env`.

        Returns:
            A `CrossQ`.
        """
        return super().for_env(
            env,
            batch_renormalization=batch_renormalization,
            target_networks=target_networks,
            policy_delay=policy_delay,
            learning_rate=learning_rate,
            **hyperparameters,
        )
