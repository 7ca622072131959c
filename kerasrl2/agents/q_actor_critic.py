"""An actor-critic agent whose critic learns the values of actions."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2._numbers import Number
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.registry import register
from kerasrl2.losses import policy_gradient_loss, value_loss, value_of_action
from kerasrl2.returns import lambda_returns
from kerasrl2.types import PolicyOutputs


@register(
    "q_actor_critic",
    title="Q actor-critic",
    actions=("discrete",),
    quick={"hidden": (8,), "num_envs": 2},
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class QActorCritic(ActorCritic):
    """Actor-critic with a learned `Q(s, a)` in place of sampled returns.

    Theorem 1 of Sutton et al. (2000), "Policy Gradient Methods for Reinforcement
    Learning with Function Approximation": the gradient of the return is that of
    `E[log pi(a|s) Q(s, a)]`, from which `V(s) = sum_a pi(a|s) Q(s, a)` may be
    subtracted. The critic learns by expected SARSA, equation (6.9) of Sutton and Barto
    (2018), http://incompleteideas.net/book/the-book.html: its target is
    `r + gamma V(s')`. `QActorCritic.for_env` builds network and head.

    Args:
        network: Keras model from `[B, ...]` observations to `[logits, action_values]`,
            both `[B, A]`.
        head: `distributions.Categorical`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        learning_rate: Float or Keras schedule over gradient steps; ignored if an
            `optimizer` object is given.
        optimizer: Keras optimizer or the name of one; None makes Adam.
        gamma: Float in [0, 1], discount per env step.
        lambda_: Float in [0, 1], how much of a target are later rewards of the rollout
            instead of `V(s')`; 0 is expected SARSA.
        baseline: `"value"`, which subtracts `V(s)`, or None, the plain form.
        value_coefficient: Float, weight of the value loss, `c_v`.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        huber_delta: Float > 0 or None: the error of an action's value above which its
            loss is linear; None: half the squared error.
        normalize_advantages: Boolean, whether to normalise what `log pi` is multiplied
            by in each rollout.
        max_gradient_norm: Float or None, global norm to clip gradients to.
        rollout_length: Integer, steps `T` of each environment per update.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        observation_normalizer: `layers.RunningNormalization` or None.
        reward_scaling: `layers.RewardScaling` or None.
        critic_optimizer: As in `A2C`.
        critic_learning_rate: As in `A2C`.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Metrics: `loss`, `policy_loss`, `value_loss`, `entropy` (nats), `gradient_norm`
    (before clipping); `explained_variance` is that of the targets by `V`.

    Example:
    >>> agent = QActorCritic.for_env("CartPole-v1", seed=0)
    >>> [tuple(output.shape) for output in agent.network.outputs]
    [(None, 2), (None, 2)]
    """

    can_remember = False
    metric_names = ("loss", "policy_loss", "value_loss", "entropy", "gradient_norm")
    huber_delta = Number(0.0, open_low=True, optional=True)

    def __init__(
        self,
        network,
        head,
        observation_spec=None,
        learning_rate=3e-4,
        optimizer=None,
        gamma=0.99,
        lambda_=0.0,
        baseline: str | None = "value",
        value_coefficient=0.5,
        entropy_coefficient=0.01,
        huber_delta: float | None = None,
        normalize_advantages=False,
        max_gradient_norm: float | None = 0.5,
        rollout_length=5,
        num_envs=8,
        observation_normalizer=None,
        reward_scaling=None,
        critic_optimizer=None,
        critic_learning_rate=None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        check_choice("baseline", baseline, ("value", None))
        optimizer = made_optimizer(optimizer, learning_rate, keras.optimizers.Adam)
        super().__init__(
            network,
            head,
            observation_spec,
            optimizer,
            gamma,
            lambda_,
            None,
            value_coefficient,
            entropy_coefficient,
            normalize_advantages,
            1,
            None,
            rollout_length,
            num_envs,
            reward_scaling,
            critic_optimizer=critic_optimizer,
            critic_learning_rate=critic_learning_rate,
            max_gradient_norm=max_gradient_norm,
            observation_normalizer=observation_normalizer,
            seed=seed,
            xla=xla,
            **kwargs,
        )
        self.baseline, self.huber_delta = baseline, huber_delta

    @classmethod
    def hyperparameters(cls):
        fixed = {"n_step", "num_epochs", "batch_size", "intrinsic_reward"}
        fixed |= {"vtrace", "clip_rho", "clip_c", "accumulation_steps"}
        fixed.add("sequence_length")
        return [name for name in super().hyperparameters() if name not in fixed]

    @classmethod
    def default_network(cls, observation_spec, num_parameters, hyperparameters, **more):
        """`layers.actor_critic` with a value of each action."""
        more = {**more, "num_values": num_parameters}
        return super().default_network(
            observation_spec, num_parameters, hyperparameters, **more
        )

    # Acting

    def forward(self, observation, policy_state=(), training=False, seed=None):
        del seed
        logits, action_values = self.logits_and_values(observation, training)
        logits = self.masked(logits, observation)
        value = tf.reduce_sum(tf.nn.softmax(logits) * action_values, axis=-1)
        return PolicyOutputs(logits, value, policy_state)

    def logits_and_values(self, observation, training=False):
        """Logits and action values of a batch, both `[B, A]` float32, not masked."""
        logits, action_values = self(observation, training=training)
        return tf.cast(logits, tf.float32), tf.cast(action_values, tf.float32)

    def policy_outputs(self, observation, policy_state=()):
        return Agent.policy_outputs(self, observation, policy_state)

    # Learning

    def advantages(self, rollout, value, next_value):
        discount = self.gamma * (1.0 - tf.cast(rollout.terminated, tf.float32))
        ended = rollout.terminated | rollout.truncated
        target = lambda_returns(
            rollout.reward, discount, ended, next_value, self.lambda_
        )
        rows, shape = value.shape.num_elements(), value.shape
        flat = tf.nest.map_structure(
            lambda x: tf.reshape(x, [rows, *x.shape[2:]]),
            (rollout.observation, rollout.action),
        )
        _, action_values = self.logits_and_values(flat[0])
        taken = tf.reshape(value_of_action(action_values, flat[1]), shape)
        return (taken if self.baseline is None else taken - value), target

    def outputs_of(self, batch):
        """As of every agent, but the value is `Q(s, a)` of the action taken."""
        logits, action_values = self.logits_and_values(batch.observation, True)
        logits = self.masked(logits, batch.observation)
        return PolicyOutputs(logits, value_of_action(action_values, batch.action), ())

    def policy_loss(self, log_prob, advantage, batch):
        del batch
        return policy_gradient_loss(log_prob, advantage), {}

    def value_loss(self, value, batch):
        return value_loss(value, batch.target, self.huber_delta)

    # Checks

    def _check_values(self, shapes):
        if self.head.kind != "categorical" or self.remembers:
            raise ValueError(
                "Expected one discrete action and a policy without memory. Received: "
                f"{type(self.head).__name__}"
                f"{' and a policy with a state' if self.remembers else ''}. "
                "A2C and PPO learn other actions."
            )
        if len(shapes) != 2 or shapes[1][1:] != (self.head.num_parameters,):
            raise ValueError(
                f"Expected a network with two outputs, logits and action values, both "
                f"[B, {self.head.num_parameters}]. Received: {shapes}"
            )
