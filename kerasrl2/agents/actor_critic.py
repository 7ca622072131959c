"""Base class of actor-critic agents."""

import tensorflow as tf
from keras import ops

from kerasrl2._checks import check_keywords, check_positive_integer
from kerasrl2._numbers import FINITE, Number
from kerasrl2.agents import intrinsic
from kerasrl2.agents.accumulation import as_part, is_part
from kerasrl2.agents.actor_critic_builder import ActorCriticBuilder
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.checking import check_batch_size
from kerasrl2.agents.critic_optimizer import CriticOptimizer
from kerasrl2.agents.planning import keep_minibatches, on_policy_updates
from kerasrl2.agents.remembering import symbolic_step
from kerasrl2.agents.rollout_learning import RolloutLearning
from kerasrl2.distributed.shares import moments_of, normalized_by
from kerasrl2.losses import value_loss
from kerasrl2.statistics import masked_mean, masked_moments
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.recurrence import unroll_batch
from kerasrl2.types import PolicyOutputs


class _Discount(Number):
    """The discount, which the scaling of rewards follows."""

    def __set__(self, owner, value):
        super().__set__(owner, value)
        scaling = vars(owner).get("reward_scaling")
        if scaling is not None:
            scaling.gamma = value


class ActorCritic(CriticOptimizer, RolloutLearning, ActorCriticBuilder, Agent):
    """Base class of agents with a policy and a value that learn from rollouts.

    `loss = mean(policy loss) + c_v * mean(value loss) - c_h * mean(entropy)`; a
    subclass defines `policy_loss`. The network maps observations to
    `[parameters, value]`: `[B, P]` for the policy head and `[B]` or `[B, 1]`.

    A network with a method `initial_state` is recurrent: it maps observations and its
    state to `(parameters, value, state)`. The rows of a minibatch are then sequences of
    steps, by default the whole rollout of an environment, and gradients flow back
    through them. A subclass may override `initial_state` and `forward` instead.

    Args:
        network: Keras model from `[B, ...]` observations to `[parameters, value]`.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        optimizer: Keras optimizer.
        gamma: Float in [0, 1], discount per env step.
        lambda_: Float in [0, 1], decay of generalized advantages.
        n_step: Integer or None, n-step advantages instead of generalized ones.
        value_coefficient: Float, weight of the value loss, `c_v`.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        normalize_advantages: Boolean, whether to normalise them in each minibatch.
        num_epochs: Integer, passes over each rollout.
        batch_size: Integer, steps per minibatch; must divide the rollout. None takes
            the whole rollout.
        rollout_length: Integer, steps `T` of each environment per rollout.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        reward_scaling: `layers.RewardScaling` or None.
        vtrace: Boolean, whether advantages and targets are those of V-trace, right for
            rollouts of an older policy as well.
        clip_rho: Float > 0, the largest importance ratio of a TD error, with `vtrace`.
        clip_c: Float > 0, the largest one of the trace, with `vtrace`.
        intrinsic_reward: `layers.RandomNetworkDistillation` or None; with it the
            network has a third output, the value of the intrinsic rewards.
        critic_optimizer: Keras optimizer of the weights that only the value depends on,
            the name of one, or None: `optimizer` moves them too, unless there is a
            `critic_learning_rate`. Policy and value must not share weights.
        critic_learning_rate: Float, Keras schedule or None, of an optimizer like
            `optimizer`, or of that name; ignored if `critic_optimizer` is an object.
        accumulation_steps: Integer, parts in which the gradients of a minibatch are
            computed, one after another, to need less memory.
        sequence_length: Integer or None, steps of a sequence with a recurrent policy;
            must divide `rollout_length`. None takes the whole rollout.
        **kwargs: Keywords of `Agent`.

    Attributes:
        needs_parameters: Boolean, whether batches have the policy's `parameters` from
            before learning, and there is a `penalty` on leaving them.
        penalty_metrics: Tuple of strings, names of what `adapt_penalty` returns.
    """

    loop_class = OnPolicyLoop
    needs_parameters, penalty_metrics = False, ()
    not_state = (*Agent.not_state, "_critic_share")
    can_remember = True

    gamma = _Discount(0.0, 1.0)
    lambda_ = Number(0.0, 1.0)
    value_coefficient = Number(**FINITE)
    entropy_coefficient = Number(**FINITE)
    clip_rho = Number(0.0, open_low=True)
    clip_c = Number(0.0, open_low=True)

    def __init__(
        self,
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
        vtrace=False,
        clip_rho=1.0,
        clip_c=1.0,
        intrinsic_reward=None,
        critic_optimizer=None,
        critic_learning_rate=None,
        accumulation_steps=1,
        sequence_length=None,
        **kwargs,
    ):
        super().__init__(network, head, observation_spec, optimizer, **kwargs)
        given = {
            "vtrace": vtrace,
            "intrinsic_reward": intrinsic_reward is not None,
            "critic_optimizer": critic_optimizer is not None,
            "critic_learning_rate": critic_learning_rate is not None,
            "accumulation_steps": accumulation_steps != 1,
        }
        chosen = [name for name, is_given in given.items() if is_given]
        check_keywords(type(self).__name__, chosen, self.hyperparameters())
        self._give_critic_optimizer(critic_optimizer, critic_learning_rate)
        self.gamma, self.lambda_, self.n_step = gamma, lambda_, n_step
        self.value_coefficient = value_coefficient
        self.entropy_coefficient = entropy_coefficient
        self.normalize_advantages = normalize_advantages
        self.num_epochs, self.batch_size = num_epochs, batch_size
        self.rollout_length, self.num_envs = rollout_length, num_envs
        self.accumulation_steps = accumulation_steps
        self.reward_scaling = reward_scaling
        self.vtrace, self.clip_rho, self.clip_c = vtrace, clip_rho, clip_c
        self.sequence_length = sequence_length
        if reward_scaling is not None and not reward_scaling.built:
            reward_scaling.build(())
        self.intrinsic_reward = intrinsic.built_for(self, intrinsic_reward)
        if intrinsic_reward is not None:
            self.metric_names = (*self.metric_names, *intrinsic.OF_UPDATES)
        for name in ("rollout_length", "num_epochs", "num_envs", "accumulation_steps"):
            check_positive_integer(name, getattr(self, name))
        for name in ("batch_size", "n_step", "sequence_length"):
            if getattr(self, name) is not None:
                check_positive_integer(name, getattr(self, name))
        if vtrace and n_step is not None:
            raise ValueError(
                f"Expected `n_step=None` with `vtrace=True`, which looks to the end of "
                f"the rollout. Received: n_step={n_step}. Set `rollout_length` instead."
            )

    @classmethod
    def planned_updates(cls, settings, steps):
        """Gradient steps of `steps` env steps; see `planning.on_policy_updates`."""
        return on_policy_updates(settings, steps)

    @classmethod
    def adapt_settings(cls, settings, tuned, overrides):
        """Settings for another rollout size; see `planning.keep_minibatches`."""
        return keep_minibatches(settings, tuned, overrides)

    # Acting

    def forward(self, observation, policy_state=(), training=False, seed=None):
        del seed
        outputs, policy_state = self.network_outputs(
            observation, policy_state, training
        )
        outputs = self.outputs_from(outputs, observation)
        return outputs._replace(policy_state=policy_state)

    def outputs_from(self, outputs, observation):
        """`PolicyOutputs` from the network's outputs for observations `[B, ...]`."""
        parameters, *values = outputs
        # Each may be [B, 1]; a second one is that of intrinsic rewards.
        values = [tf.reshape(tf.cast(value, tf.float32), [-1]) for value in values]
        parameters = self.masked(tf.cast(parameters, tf.float32), observation)
        return PolicyOutputs(parameters, values[0], (), *values[1:])

    def policy_outputs(self, observation, policy_state=()):
        (parameters, value, *_), after = symbolic_step(
            self.network, observation, policy_state
        )
        if len(value.shape) == 2:
            value = ops.squeeze(value, axis=-1)
        named = {"parameters": parameters, "value": value}
        named = {name: ops.cast(tensor, "float32") for name, tensor in named.items()}
        return {**named, **after}

    # Learning

    def optimizers(self):
        two = self.critic_optimizer is not None
        return self.actor_and_critic() if two else super().optimizers()

    @property
    def report_names(self):
        own = ["explained_variance"]
        own += ["rho"] if self.vtrace else []
        own += self.penalty_metrics if self.needs_parameters else []
        own += intrinsic.OF_ROLLOUTS if self.intrinsic_reward is not None else []
        return (*super().report_names, *own)

    def update_statistics(self, observation, valid):
        super().update_statistics(observation, valid)
        if self.intrinsic_reward is not None:
            intrinsic.update_statistics(self, observation, valid)

    def should_stop(self, metrics):
        """Whether to skip the remaining minibatches of this rollout, scalar bool.

        Args:
            metrics: Dictionary of scalars, of the latest minibatch.
        """
        del metrics
        return tf.constant(False)

    def outputs_of(self, batch):
        """`PolicyOutputs` of the steps of a batch, `[...]`, for the loss."""
        if self.remembers:
            return unroll_batch(self, batch)
        return self.forward(batch.observation, training=True)

    def compute_loss(self, batch, seed):
        """Loss and metrics of an `OnPolicyBatch`, scalars."""
        parameters, value, *_ = outputs = self.outputs_of(batch)
        log_prob = self.head.log_prob(parameters, batch.action)
        advantage = batch.advantage
        if self.normalize_advantages and not is_part():  # else by `whole_batch`
            advantage = self.normalized_advantages(advantage, batch.valid)
        policy_loss, more = self.policy_loss(log_prob, advantage, batch)
        policy_loss = masked_mean(policy_loss, batch.valid)
        critic_loss = masked_mean(self.value_loss(value, batch), batch.valid)
        entropy = masked_mean(self.head.entropy(parameters), batch.valid)
        loss = policy_loss + self.value_coefficient * critic_loss
        loss -= self.entropy_coefficient * entropy
        if self.needs_parameters:
            penalty, further = self.penalty(parameters, batch)
            loss, more = loss + penalty, {**more, **further}
        own = {"policy_loss": policy_loss, "value_loss": critic_loss}
        if self.intrinsic_reward is not None:
            of_bonus, further = intrinsic.loss(self, outputs, batch, seed)
            loss, more = loss + of_bonus, {**more, **further}
        return loss, {**own, "entropy": entropy, **more}

    def whole_batch(self, batch):
        if not self.normalize_advantages:
            return batch
        advantage = self.normalized_advantages(batch.advantage, batch.valid)
        return batch._replace(advantage=advantage)

    def policy_loss(self, log_prob, advantage, batch):
        """Loss of the policy.

        Args:
            log_prob: `[...]` float32, nats, of the batch's actions under the current
                policy. Receives the gradient.
            advantage: `[...]` float32.
            batch: `OnPolicyBatch`.

        Returns:
            `(loss, metrics)`: `[...]` float32, and a dictionary of further scalars.
        """
        raise NotImplementedError

    def penalty(self, parameters, batch):
        """What is added to the loss, where `needs_parameters` is True.

        Args:
            parameters: `[..., P]` float32. Receives the gradient.
            batch: `OnPolicyBatch`.

        Returns:
            `(penalty, metrics)`: a scalar, and a dictionary of further scalars.
        """
        raise NotImplementedError

    def adapt_penalty(self, batch):
        """Changes the penalty's weight after learning from a rollout.

        Args:
            batch: `OnPolicyBatch` of all steps.

        Returns:
            Dictionary of the scalars that `penalty_metrics` names.
        """
        raise NotImplementedError

    def value_loss(self, value, batch):
        """Loss of the value, `[...]` float32: half the squared error."""
        return value_loss(value, batch.target)

    def normalized_advantages(self, advantage, valid):
        """Advantages with mean 0 and standard deviation 1 over the minibatch."""
        if advantage.shape.num_elements() == 1 or is_part():
            return advantage
        moments = masked_moments(advantage, valid, feature_rank=0)
        return (advantage - moments.mean) / (ops.sqrt(moments.variance) + 1e-8)

    def advantage_moments(self, batch):
        """`[3]` float64: number, sum and sum of squares of a batch's advantages."""
        return moments_of(batch.advantage, batch.valid)

    def share_of_gradients(self, batch, moments, seed):
        """`types.Gradients` of a part of a minibatch, for averages over workers.

        Args:
            batch: `OnPolicyBatch`, the part.
            moments: `[3]` float64: number, sum and sum of squares of the advantages of
                the whole minibatch.
            seed: `[2]` int32.
        """
        if self.normalize_advantages:
            advantage = normalized_by(batch.advantage, moments)
            batch = batch._replace(advantage=advantage)
        with as_part():
            return self.compute_gradients(batch, seed)

    def learns_by_minibatches(self):
        """Whether it learns by gradients of minibatches, and by nothing else."""
        own = type(self).update, type(self).learn_from
        return own == (Agent.update, ActorCritic.learn_from)

    # Checks

    def loop(self, env):
        check_batch_size(self, env)
        return super().loop(env)

    def _check_network(self):
        super()._check_network()
        outputs = intrinsic.checked_outputs(self, self.symbolic_outputs())
        self._check_values([tuple(output.shape) for output in outputs])

    def _check_values(self, shapes):
        """Raises unless the network has a value.

        Args:
            shapes: List of the shapes of its outputs, of which the first is right.
        """
        if len(shapes) != 2 or shapes[1][1:] not in ((), (1,)):
            raise ValueError(
                f"Expected a network with two outputs, parameters [B, "
                f"{self.head.num_parameters}] and value [B] or [B, 1]. "
                f"Received: {shapes}"
            )
