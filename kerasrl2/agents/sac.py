"""Soft actor-critic and its variants."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.critics_builder import CriticsBuilder
from kerasrl2.agents.registry import register
from kerasrl2.agents.replay_critics import CRITIC_METRICS, ReplayCritics
from kerasrl2.agents.temperature import Temperature
from kerasrl2.distributions import head_for
from kerasrl2.losses import quantile_huber_loss, quantile_midpoints
from kerasrl2.permutations import random_permutation


@register(
    "sac",
    title="Soft actor-critic",
    actions=("continuous",),
    quick={
        "hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512,
    },
)  # fmt: skip
@keras.saving.register_keras_serializable(package="kerasrl2")
class SAC(Temperature, ReplayCritics, CriticsBuilder, Agent):
    """Soft actor-critic with a learned temperature.

    Algorithm 1 of Haarnoja et al. (2018), https://arxiv.org/abs/1812.05905. Critics
    learn `r + discount (min_k Q'_k(s', a') - alpha log pi(a'|s'))` with `a'` drawn from
    the policy, a Gaussian squashed by tanh; the actor minimises
    `alpha log pi(a|s) - min_k Q_k(s, a)`, and the temperature `alpha`
    `log alpha (-log pi(a|s) - target entropy)`. Its variants are arguments:

    - randomized ensembles: `num_critics=10`, `target_subset=2`, `gradient_steps=20`,
      `policy_delay=20`; Chen et al. (2021), https://arxiv.org/abs/2101.05982, whose
      actor takes the mean of all critics (`actor_reduction="mean"`). See `REDQ`.
    - dropout in critics: `dropout=0.01`, `layer_normalization=True`; Hiraoka et al.
      (2022), https://arxiv.org/abs/2110.02034.
    - truncated quantiles: a critic with quantiles and `dropped_quantiles`; Kuznetsov et
      al. (2020), https://arxiv.org/abs/2005.04269. See `TQC`.
    - batch renormalisation without targets: `batch_renormalization=True`,
      `target_networks=False`; Bhatt et al. (2024), https://arxiv.org/abs/1902.05605.
      See `CrossQ`.

    Log-probabilities are those of `tanh(u)`, with bounds -1 and 1, as `target_entropy`
    is.

    Args:
        network: The actor, a Keras model of `[B, ...]` observations to the parameters
            of the head, `[B, 2 D]`.
        critic: Keras model of `[observation, action]` to `[B, K]`, or `[B, K, M]`
            quantiles; actions have bounds -1 and 1.
        head: `distributions.SquashedGaussian`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        target_subset: Integer or None, how many critics, drawn anew in each update, the
            least is taken of in targets; None: all.
        actor_reduction: `"min"` or `"mean"`, of the critics the actor follows.
        dropped_quantiles: Integer, of each critic, dropped from the top of all in
            targets; for critics with quantiles.
        **kwargs: Further keywords of `Temperature`, `ReplayCritics` and `Agent`.

    Metrics: `critic_loss` (summed over critics), `td_error` (mean absolute), `q_value`
    (mean over actions taken), `critic_gradient_norm`, and of the latest step of the
    actor `actor_loss`, `actor_gradient_norm`, `entropy` (nats) and `temperature`.

    Example:
    >>> agent = SAC.for_env("Pendulum-v1", learning_starts=64, batch_size=16, seed=0)
    >>> history = agent.fit("Pendulum-v1", steps=80, epochs=1, verbose=0)
    >>> [int(o.iterations) for o, _ in agent.optimizers().values()]
    [16, 16, 16]
    """

    actor_metrics = (*ReplayCritics.actor_metrics, "entropy", "temperature")
    metric_names = (*CRITIC_METRICS, *actor_metrics)
    gaussian_std = "dependent"

    def __init__(
        self,
        network,
        critic,
        head,
        observation_spec=None,
        target_subset=None,
        actor_reduction="min",
        dropped_quantiles=0,
        **kwargs,
    ):
        super().__init__(network, critic, head, observation_spec, **kwargs)
        check_choice("actor_reduction", actor_reduction, ("min", "mean"))
        if target_subset is not None:
            check_positive_integer("target_subset", target_subset)
        if dropped_quantiles != 0:
            check_positive_integer("dropped_quantiles", dropped_quantiles)
        self.target_subset, self.actor_reduction = target_subset, actor_reduction
        self.dropped_quantiles = int(dropped_quantiles)

    @classmethod
    def head_of(cls, space):
        return head_for(space, "squashed_gaussian")

    def default_entropy(self):
        return -float(*self.head.action_shape)

    # Learning

    def next_actions(self, observation, seed):
        parameters = self.forward(observation).parameters
        u = self.head.sample(parameters, seed)
        bonus = -self.temperature * self.head.log_prob(parameters, u)
        return self.head.centred(u), bonus

    def compute_targets(self, batch, next_value, bonus, seed):
        if next_value.shape.rank == 3:
            return self._truncated_targets(batch, next_value, bonus)
        count = next_value.shape[1]
        if self.target_subset is not None and self.target_subset < count:
            order = random_permutation(count, seed)[: self.target_subset]
            next_value = tf.gather(next_value, order, axis=1)
        return super().compute_targets(batch, next_value, bonus, seed)

    def _truncated_targets(self, batch, next_value, bonus):
        """`[B, K (M - dropped)]`, all but the highest quantiles of all critics."""
        critics, quantiles = next_value.shape[1:]
        kept = critics * (quantiles - self.dropped_quantiles)
        pooled = tf.sort(tf.reshape(next_value, [-1, critics * quantiles]), axis=1)
        following = pooled[:, :kept] + tf.reshape(bonus, [-1, 1])
        return batch.reward[:, None] + batch.discount[:, None] * following

    def critic_losses(self, value, target):
        if value.shape.rank == 2:
            return super().critic_losses(value, target)
        fractions = quantile_midpoints(value.shape[2])
        losses = [
            quantile_huber_loss(quantiles, target, fractions) / value.shape[2]
            for quantiles in tf.unstack(value, axis=1)
        ]
        error = tf.reduce_mean(target, 1) - tf.reduce_mean(value, [1, 2])
        return tf.add_n(losses), error

    def update_actor(self, batch, seed):
        temperature = tf.convert_to_tensor(self.temperature)

        def loss():
            parameters = self.forward(batch.observation, training=True).parameters
            u = self.head.sample(parameters, seed)
            log_prob = self.head.log_prob(parameters, u)
            pair = batch.observation, self.head.centred(u)
            value = self.values_of(self.critic, *pair)
            if value.shape.rank == 3:  # the mean of all quantiles
                value = tf.reduce_mean(value, axis=[1, 2])
            elif self.actor_reduction == "mean":
                value = tf.reduce_mean(value, axis=1)
            else:
                value = tf.reduce_min(value, axis=1)
            entropy = -tf.reduce_mean(log_prob)
            return tf.reduce_mean(temperature * log_prob - value), {"entropy": entropy}

        step = self.gradient_step("actor", loss)
        entropy = step.metrics["entropy"]
        self.update_temperature(entropy)
        return [step.loss, step.norm, entropy, temperature]

    # Checks

    def _fits(self, shape):
        return len(shape) in (2, 3)

    def _wanted(self):
        return "[B, K], or [B, K, M] quantiles"
