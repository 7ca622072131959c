"""REINFORCE: whole episodes, one gradient step each time."""

import keras
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import Agent, Number, ObservationSpec, register
from kerasrl2.distributions import head_for
from kerasrl2.layers import mlp, seed_weights
from kerasrl2.losses import policy_gradient_loss
from kerasrl2.returns import discounted_returns
from kerasrl2.statistics import masked_mean, masked_moments
from kerasrl2.training import OnPolicyLoop
from kerasrl2.types import OnPolicyBatch


@register(
    "my_reinforce",
    title="A user's REINFORCE",
    quick={"hidden": (8,), "rollout_length": 40, "num_envs": 2},
)
@keras.saving.register_keras_serializable(package="newcomers")
class Reinforce(Agent):
    """Williams (1992), https://doi.org/10.1007/BF00992696, with rewards to go.

    Args:
        network: Keras model, `[B, ...]` to the head's parameters `[B, P]`.
        head: Policy head.
        observation_spec: `ObservationSpec` or None.
        learning_rate: Float or Keras schedule.
        optimizer: Keras optimizer or None for Adam.
        gamma: Float in [0, 1].
        normalize_returns: Boolean, over the steps of an update.
        rollout_length: Integer, an episode is cut after that many steps.
        num_envs: Integer, episodes of an update.
        **kwargs: Of `Agent`.
    """

    metric_names = ("loss", "entropy", "gradient_norm")
    loop_class = OnPolicyLoop
    whole_episodes = True
    gamma = Number(0.0, 1.0)

    def __init__(
        self,
        network,
        head,
        observation_spec=None,
        learning_rate=1e-2,
        optimizer=None,
        gamma=0.99,
        normalize_returns=True,
        rollout_length=500,
        num_envs=4,
        **kwargs,
    ):
        optimizer = optimizer or keras.optimizers.Adam(learning_rate)
        super().__init__(network, head, observation_spec, optimizer, **kwargs)
        self.gamma, self.normalize_returns = gamma, normalize_returns
        self.rollout_length, self.num_envs = rollout_length, num_envs

    @classmethod
    def for_env(cls, env, hidden=(64,), activation="tanh", seed=None, **settings):
        made = envs.make(env)
        spec = ObservationSpec.of_space(made.observation_space)
        head = head_for(made.action_space)
        body = mlp(spec.shape, hidden, activation)
        output = keras.layers.Dense(head.num_parameters)(body.output)
        network = keras.Model(body.input, output)
        if seed is not None:
            seed_weights(network, seed)
        return cls(network, head, spec, seed=seed, **settings)

    def prepare(self, rollout, learner_state):
        """All steps of the episodes, with what is still to come as advantage."""
        discount = self.gamma * (1.0 - tf.cast(rollout.terminated, tf.float32))
        to_go = discounted_returns(
            tf.where(rollout.valid, rollout.reward, 0.0),
            discount,
            rollout.terminated | rollout.truncated,
            tf.zeros_like(rollout.reward),
        )
        advantage = to_go
        if self.normalize_returns:
            moments = masked_moments(to_go, rollout.valid, feature_rank=0)
            deviation = tf.sqrt(moments.variance) + 1e-8
            advantage = tf.where(moments.variance > 0.0, to_go - moments.mean, to_go)
            advantage /= tf.where(moments.variance > 0.0, deviation, 1.0)

        def flat(tensor):
            rows = tensor.shape[0] * tensor.shape[1]
            return tf.reshape(tensor, [rows, *tensor.shape[2:]])

        batch = OnPolicyBatch(
            observation=flat(rollout.observation),
            action=flat(rollout.action),
            log_prob=(),
            value=(),
            advantage=flat(advantage),
            target=flat(to_go),
            valid=flat(rollout.valid),
        )
        return batch, learner_state

    def compute_loss(self, batch, seed):
        parameters = self.forward(batch.observation, training=True).parameters
        log_prob = self.head.log_prob(parameters, batch.action)
        loss = policy_gradient_loss(log_prob, batch.advantage)
        entropy = masked_mean(self.head.entropy(parameters), batch.valid)
        return masked_mean(loss, batch.valid), {"entropy": entropy}
