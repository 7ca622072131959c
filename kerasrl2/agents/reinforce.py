"""REINFORCE: policy gradients from the returns of whole episodes."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2._numbers import Number
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.registry import register
from kerasrl2.losses import policy_gradient_loss, value_loss
from kerasrl2.returns import discounted_returns, restarted_discount
from kerasrl2.statistics import masked_mean, standardized
from kerasrl2.training.finite import too_long


@register(
    "reinforce",
    title="REINFORCE",
    quick={"hidden": (8,), "num_envs": 4, "rollout_length": 40},
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class Reinforce(ActorCritic):
    """REINFORCE: one gradient step for every whole episode of each environment.

    Sections 3 and 4 of Williams (1992), https://doi.org/10.1007/BF00992696:
    `-mean(log pi(a_t|s_t) (G_t - b))` over the steps of the episodes, with the
    discounted rewards to go `G_t` and a baseline `b`; plus
    `c_v * mean(value loss) - c_h * mean(entropy)`. `Reinforce.for_env` builds network
    and head. With `shared_trunk=True`, `huber_delta=1.0`, `normalize_returns=True` and
    `num_envs=1` this is the episodic actor-critic of Keras' examples, but the value
    gets no gradient from the policy's loss.

    Args:
        network: Keras model from `[B, ...]` observations to `[parameters, value]`; to
            the parameters alone suffices unless `baseline="value"`.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        learning_rate: Float or Keras schedule over gradient steps; ignored if an
            `optimizer` object is given.
        optimizer: Keras optimizer or the name of one; None makes Adam.
        gamma: Float in [0, 1], discount per env step.
        baseline: What is subtracted from returns: `"value"`, the network's value of the
            state, which is fitted to them; `"mean"`, a running mean of the returns of
            earlier episodes; None, nothing.
        reward_to_go: Boolean: an action is judged by what followed it, else by the
            return of the whole episode.
        normalize_returns: Boolean, whether returns get mean 0 and deviation 1 over the
            steps of an update, before a baseline is subtracted; constant returns become
            0. A value is then fitted to numbers without a unit.
        restart_discount: Boolean, whether the sum of rewards begins anew after every
            reward that is not 0; see `returns.restarted_discount`.
        cut_episodes: Boolean, whether an episode that is longer than `rollout_length`
            may be taken to end there. With `baseline="value"`, unless returns are
            normalised, the value of the state reached stands for the rest and any
            length will do; without, a longer episode is an error.
        baseline_rate: Float in (0, 1], share of an update in the running mean.
        value_coefficient: Float, weight of the value loss, `c_v`.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        huber_delta: Float > 0 or None: the value's error above which its loss is
            linear; None: half the squared error.
        max_gradient_norm: Float or None, global norm to clip gradients to.
        rollout_length: Integer, the longest episode in env steps. Memory is taken for
            episodes of that length.
        num_envs: Integer, episodes per gradient step.
        observation_normalizer: `layers.RunningNormalization` or None.
        reward_scaling: `layers.RewardScaling` or None.
        critic_optimizer: As in `A2C`, with `baseline="value"` only.
        critic_learning_rate: The same.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Metrics: `loss`, `policy_loss`, `entropy` (nats), `gradient_norm` (before clipping);
    with `baseline="value"` also `value_loss`.

    Example:
    >>> agent = Reinforce.for_env("CartPole-v0", baseline=None, rollout_length=200)
    >>> history = agent.fit("CartPole-v0", steps=200, epochs=1, verbose=0)
    >>> history.history["env_steps"][0] >= 200
    True
    """

    can_remember = False
    metric_names = ("loss", "policy_loss", "value_loss", "entropy", "gradient_norm")
    whole_episodes = True

    huber_delta = Number(0.0, open_low=True, optional=True)
    baseline_rate = Number(0.0, 1.0, open_low=True)

    def __init__(
        self,
        network,
        head,
        observation_spec=None,
        learning_rate=1e-3,
        optimizer=None,
        gamma=0.99,
        baseline: str | None = "value",
        reward_to_go=True,
        normalize_returns=False,
        restart_discount=False,
        cut_episodes=False,
        baseline_rate=0.1,
        value_coefficient=0.5,
        entropy_coefficient=0.0,
        huber_delta: float | None = None,
        max_gradient_norm: float | None = None,
        rollout_length=500,
        num_envs=4,
        observation_normalizer=None,
        reward_scaling=None,
        critic_optimizer=None,
        critic_learning_rate=None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        check_choice("baseline", baseline, ("value", "mean", None))
        optimizer = made_optimizer(optimizer, learning_rate, keras.optimizers.Adam)
        super().__init__(
            network,
            head,
            observation_spec,
            optimizer,
            gamma,
            1.0,
            None,
            value_coefficient,
            entropy_coefficient,
            False,
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
        self.baseline, self.reward_to_go = baseline, reward_to_go
        self.normalize_returns = normalize_returns
        self.restart_discount, self.cut_episodes = restart_discount, cut_episodes
        self.baseline_rate, self.huber_delta = baseline_rate, huber_delta
        self._check_combination()
        if baseline == "mean":  # the sum of weighted returns, and that of the weights
            self.running_return = self.add_weight(
                shape=(2,), initializer="zeros", trainable=False, name="running_return",
                dtype="float32",
            )  # fmt: skip
        if baseline != "value":
            self.metric_names = tuple(n for n in self.metric_names if n != "value_loss")

    @classmethod
    def hyperparameters(cls):
        fixed = {"lambda_", "n_step", "normalize_advantages", "num_epochs"}
        fixed |= {"batch_size", "vtrace", "clip_rho", "clip_c", "intrinsic_reward"}
        fixed |= {"accumulation_steps", "sequence_length"}
        return [name for name in super().hyperparameters() if name not in fixed]

    @classmethod
    def planned_updates(cls, settings, steps):
        """The most gradient steps of a run: with episodes of a single step."""
        return max(1, -(-steps // settings["num_envs"]))

    @classmethod
    def default_network(cls, observation_spec, num_parameters, hyperparameters, **more):
        """`layers.actor_critic`, without a value unless there is to be one."""
        made = super().default_network(
            observation_spec, num_parameters, hyperparameters, **more
        )
        if hyperparameters.get("baseline", "value") == "value" or "cell" in more:
            return made
        return keras.Model(made.input, made.outputs[0], name="actor")

    @property
    def cuts_episodes(self):
        """Boolean, whether episodes may be longer than rollouts."""
        return self.cut_episodes or self.bootstraps

    @property
    def bootstraps(self):
        """Boolean, whether a value stands for what follows a truncated episode."""
        return self.baseline == "value" and not self.normalize_returns

    # Acting

    def forward(self, observation, policy_state=(), training=False, seed=None):
        if self.baseline == "value":
            return super().forward(observation, policy_state, training, seed)
        outputs = Agent.forward(self, observation, policy_state, training, seed)
        return outputs._replace(value=tf.zeros_like(outputs.parameters[:, 0]))

    def policy_outputs(self, observation, policy_state=()):
        if self.baseline == "value":
            return super().policy_outputs(observation, policy_state)
        return Agent.policy_outputs(self, observation, policy_state)

    # Learning

    def advantages(self, rollout, value, next_value):
        returns = self.returns(rollout, next_value)
        if self.baseline == "mean":
            return returns - self._mean_before(returns, rollout.valid), returns
        return returns - value, returns

    def returns(self, rollout, next_value):
        """What the actions of whole episodes are judged by, `[T, N]` float32.

        Args:
            rollout: `Rollout` of one episode of each environment, with scaled rewards.
            next_value: `[T, N]` float32, values of the true successors. They count
                where an episode was truncated, if `bootstraps`.
        """
        discount = self.gamma * (1.0 - tf.cast(rollout.terminated, tf.float32))
        if self.restart_discount:
            discount = restarted_discount(rollout.reward, discount)
        if not self.bootstraps:
            next_value = tf.zeros_like(next_value)
        ended = rollout.terminated | rollout.truncated
        returns = discounted_returns(rollout.reward, discount, ended, next_value)
        if not self.reward_to_go:
            returns = tf.broadcast_to(returns[:1], returns.shape)
        return (
            standardized(returns, rollout.valid) if self.normalize_returns else returns
        )

    def _mean_before(self, returns, valid):
        """The mean return of earlier updates, a scalar; then this one is one of them.

        It depends on none of the actions it is the baseline of: no bias.
        """
        known = tf.convert_to_tensor(self.running_return)
        mean = tf.math.divide_no_nan(known[0], known[1])
        new = tf.stack([masked_mean(returns, valid), 1.0])
        moved = known + self.baseline_rate * (new - known)
        self.running_return.assign(tf.where(self.guard.is_healthy(), moved, known))
        return mean

    def policy_loss(self, log_prob, advantage, batch):
        del batch
        return policy_gradient_loss(log_prob, advantage), {}

    def value_loss(self, value, batch):
        if self.baseline != "value":
            return tf.zeros_like(value)
        return value_loss(value, batch.target, self.huber_delta)

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        return loss, {n: v for n, v in metrics.items() if n in self.metric_names}

    # Checks

    def loop(self, env):
        limit = getattr(env, "max_episode_steps", None)
        if not self.cuts_episodes and limit is not None and limit > self.rollout_length:
            raise too_long(env.id, f"up to {limit} steps long", self.rollout_length)
        return super().loop(env)

    def _check_combination(self):
        """Raises on arguments that would have no effect, or contradict each other."""
        of_critic = ("critic_optimizer", "critic_learning_rate", "huber_delta")
        given = [name for name in of_critic if getattr(self, name) is not None]
        if self.baseline != "value" and given:
            raise ValueError(
                f"Expected baseline='value' with `{given[0]}`, which is about the "
                f"value. Received: baseline={self.baseline!r}"
            )
        if self.baseline == "mean" and self.normalize_returns:
            raise ValueError(
                "Expected baseline='value' or None with normalize_returns=True: "
                "normalised returns have a mean of 0. Received: baseline='mean'"
            )
        if self.restart_discount and not self.reward_to_go:
            raise ValueError(
                "Expected reward_to_go=True with restart_discount=True, which is about "
                "the rewards that follow a step. Received: reward_to_go=False"
            )

    def _check_values(self, shapes):
        if self.baseline == "value":
            super()._check_values(shapes)
