"""Proximal policy optimisation."""

import math

import keras
import tensorflow as tf
from keras import ops

from kerasrl2._numbers import Number
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.registry import register
from kerasrl2.losses import (
    adapted_kl_coefficient,
    approximate_kl,
    clipped_surrogate_loss,
    clipped_value_loss,
    kl_penalty,
)
from kerasrl2.schedules import value_at
from kerasrl2.statistics import masked_mean


class _FirstWeight(Number):
    """The first weight of the KL penalty; to assign it sets the present one anew."""

    def __set__(self, owner, value):
        if value is not None and "kl_beta" not in vars(owner):
            raise ValueError(
                "Expected `kl_coefficient` from the beginning. Received: "
                f"{value} for an agent that was made without. Make it with one."
            )
        super().__set__(owner, value)
        if value is not None:
            owner.kl_beta.assign(value)


@register(
    "ppo",
    title="Proximal policy optimisation",
    quick={"hidden": (8,), "num_envs": 4, "rollout_length": 16, "batch_size": 32},
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class PPO(ActorCritic):
    """Proximal policy optimisation with the clipped objective, a KL penalty, or both.

    Equation (9) of Schulman et al. (2017), https://arxiv.org/abs/1707.06347, on
    advantages of Schulman et al. (2016), https://arxiv.org/abs/1506.02438:
    `loss = mean(clipped surrogate) + c_v * mean(value loss) - c_h * mean(entropy)`,
    plus `beta * mean(KL(old || new))` with `kl_coefficient`, equation (8).
    `PPO.for_env` builds network and head.

    Args:
        network: Keras model from `[B, ...]` observations to `[parameters, value]`; one
            with `initial_state` is recurrent, see `layers.RecurrentNetwork`.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        learning_rate: Float or Keras schedule over gradient steps; ignored if an
            `optimizer` object is given.
        optimizer: Keras optimizer or the name of one; None makes Adam with epsilon
            1e-5.
        gamma: Float in [0, 1], discount per env step.
        lambda_: Float in [0, 1], decay of generalized advantages.
        n_step: Integer or None, n-step advantages instead of generalized ones.
        clip_range: Float in (0, 1) or Keras schedule over gradient steps, epsilon. None
            does not clip.
        value_clip: Float or None, largest change of the value from the old one.
        value_coefficient: Float, weight of the value loss, `c_v`.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        target_kl: Float or None: once the approximate KL divergence (nats) of a
            minibatch exceeds 1.5 times this, the remaining minibatches are skipped.
        kl_coefficient: Float or None, weight of the KL divergence from the old policy,
            `beta`: the first one, with `adaptive_kl_target`. None: no penalty.
        adaptive_kl_target: Float or None, the divergence (nats) that a rollout is to
            end at: `beta` is multiplied by 1.5 after one above, divided after one
            below. None keeps `kl_coefficient`.
        adaptive_kl_tolerance: Float in [0, 1), how far from it, as a fraction of it, a
            divergence may lie that changes nothing.
        normalize_advantages: Boolean, whether to normalise them in each minibatch.
        max_gradient_norm: Float or None, global norm to clip gradients to.
        num_epochs: Integer, passes over each rollout.
        batch_size: Integer, steps per minibatch; must divide the rollout, and with a
            recurrent network hold whole sequences. None takes the whole rollout.
        rollout_length: Integer, steps `T` of each environment per rollout.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        accumulation_steps: Integer, parts in which the gradients of a minibatch are
            computed, one after another, to need less memory; weights are the same.
        observation_normalizer: `layers.RunningNormalization` or None.
        reward_scaling: `layers.RewardScaling` or None.
        vtrace: Boolean, whether advantages and targets are those of V-trace, Espeholt
            et al. (2018), https://arxiv.org/abs/1802.01561, right for rollouts of an
            older policy as well. Ratios are to the policy before learning.
        clip_rho: Float > 0, the paper's rho-bar, with `vtrace`.
        clip_c: Float > 0, the paper's c-bar, with `vtrace`.
        sequence_length: Integer or None, steps of a sequence with a recurrent network;
            must divide `rollout_length`. None takes the whole rollout.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        **kwargs: `critic_optimizer`, `critic_learning_rate`, as of `A2C`;
            `intrinsic_reward` of `ActorCritic`, a bonus such as that of `RND`; `name`,
            `dtype`, `trainable` of `keras.Model`.

    Metrics: `loss`, `policy_loss`, `value_loss`, `entropy` and `kl` (nats, the latter
    Schulman's low-variance estimate), `clip_fraction`, `gradient_norm` (before
    clipping); with `kl_coefficient` `kl` is exact, and once a rollout there are
    `rollout_kl`, over the whole of it after learning, and `kl_beta`; with `vtrace`
    `rho`, the mean clipped importance ratio.

    Example:
    >>> agent = PPO.for_env("CartPole-v1", rollout_length=32, batch_size=64, seed=0)
    >>> history = agent.fit("CartPole-v1", steps=512, epochs=1, verbose=0)
    >>> sorted(history.history)[:3]
    ['clip_fraction', 'entropy', 'env_steps']
    """

    metric_names = (
        "loss",
        "policy_loss",
        "value_loss",
        "entropy",
        "kl",
        "clip_fraction",
        "gradient_norm",
    )
    clip_range = Number(
        0.0, 1.0, open_low=True, open_high=True, schedule=True, optional=True
    )
    value_clip = Number(0.0, open_low=True, optional=True)
    penalty_metrics = ("rollout_kl", "kl_beta")
    target_kl = Number(0.0, open_low=True, optional=True)
    kl_coefficient = _FirstWeight(0.0, optional=True)
    adaptive_kl_target = Number(0.0, open_low=True, optional=True)
    adaptive_kl_tolerance = Number(0.0, 1.0, open_high=True)

    def __init__(
        self,
        network,
        head,
        observation_spec=None,
        learning_rate=3e-4,
        optimizer=None,
        gamma=0.99,
        lambda_=0.95,
        n_step=None,
        clip_range: float | None = 0.2,
        value_clip=None,
        value_coefficient=0.5,
        entropy_coefficient=0.0,
        target_kl=None,
        kl_coefficient: float | None = None,
        adaptive_kl_target: float | None = None,
        adaptive_kl_tolerance=0.3,
        normalize_advantages=True,
        max_gradient_norm: float | None = 0.5,
        num_epochs=10,
        batch_size: int | None = 128,
        rollout_length=128,
        num_envs=8,
        accumulation_steps=1,
        observation_normalizer=None,
        reward_scaling=None,
        vtrace=False,
        clip_rho=1.0,
        clip_c=1.0,
        sequence_length: int | None = None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        optimizer = made_optimizer(
            optimizer, learning_rate, keras.optimizers.Adam, epsilon=1e-5
        )
        super().__init__(
            network,
            head,
            observation_spec,
            optimizer,
            gamma,
            lambda_,
            n_step,
            value_coefficient,
            entropy_coefficient,
            normalize_advantages,
            num_epochs,
            batch_size,
            rollout_length,
            num_envs,
            reward_scaling,
            vtrace,
            clip_rho,
            clip_c,
            accumulation_steps=accumulation_steps,
            sequence_length=sequence_length,
            max_gradient_norm=max_gradient_norm,
            observation_normalizer=observation_normalizer,
            seed=seed,
            xla=xla,
            **kwargs,
        )
        self.clip_range, self.value_clip = clip_range, value_clip
        self.target_kl = target_kl
        self.adaptive_kl_target = adaptive_kl_target
        self.adaptive_kl_tolerance = adaptive_kl_tolerance
        if kl_coefficient is None and adaptive_kl_target is not None:
            raise ValueError(
                "Expected `kl_coefficient`, the first weight of the penalty, with "
                f"`adaptive_kl_target`. Received: kl_coefficient=None, "
                f"adaptive_kl_target={adaptive_kl_target}. Give it, for instance 1.0; "
                "to end the passes over a rollout early, set `target_kl`."
            )
        if kl_coefficient is not None:
            self.kl_beta = self.add_weight(
                shape=(),
                dtype="float32",
                initializer="zeros",
                trainable=False,
                name="kl_beta",
            )
        self.kl_coefficient = kl_coefficient

    @property
    def needs_parameters(self):
        """Whether there is a penalty on the divergence from the old parameters."""
        return self.kl_coefficient is not None

    def adapt_penalty(self, batch):
        kl = self.mean_kl(self.outputs_of(batch).parameters, batch)
        beta = tf.convert_to_tensor(self.kl_beta)
        if self.adaptive_kl_target is not None:
            rule = self.adaptive_kl_target, self.adaptive_kl_tolerance
            adapted = adapted_kl_coefficient(beta, kl, *rule)
            beta = tf.where(self.guard.is_healthy(), adapted, beta)
            self.kl_beta.assign(beta)
        return {"rollout_kl": kl, "kl_beta": beta}

    def mean_kl(self, parameters, batch):
        """Mean `KL(old || new)` of a batch, a scalar, nats.

        Args:
            parameters: `[..., P]` float32, the new ones.
            batch: `OnPolicyBatch` with the old ones.
        """
        kl = self.head.kl(tf.stop_gradient(batch.parameters), parameters)
        return masked_mean(kl, batch.valid)

    def penalty(self, parameters, batch):
        kl = self.mean_kl(parameters, batch)
        return kl_penalty(kl, tf.convert_to_tensor(self.kl_beta)), {"kl": kl}

    def policy_loss(self, log_prob, advantage, batch):
        clip_range = value_at(self.clip_range, self.optimizer.iterations)
        clip_range = tf.constant(math.inf) if clip_range is None else clip_range
        loss = clipped_surrogate_loss(log_prob, batch.log_prob, advantage, clip_range)
        change = ops.abs(ops.exp(log_prob - batch.log_prob) - 1.0)
        clipped = ops.cast(change > clip_range, "float32")
        return loss, {
            "kl": masked_mean(approximate_kl(log_prob, batch.log_prob), batch.valid),
            "clip_fraction": masked_mean(clipped, batch.valid),
        }

    def value_loss(self, value, batch):
        if self.value_clip is None:
            return super().value_loss(value, batch)
        return clipped_value_loss(value, batch.value, batch.target, self.value_clip)

    def should_stop(self, metrics):
        """Whether the policy has moved too far in this rollout, scalar bool."""
        if self.target_kl is None:
            return tf.constant(False)
        return metrics["kl"] > 1.5 * self.target_kl
