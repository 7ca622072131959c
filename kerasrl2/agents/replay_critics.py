"""What agents with critics of states and actions have in common."""

from types import MappingProxyType

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2._control import run_if
from kerasrl2._numbers import Number
from kerasrl2.agents.checking import outputs_of, usable_network
from kerasrl2.agents.optimizing import (
    checked_rate,
    made_optimizer,
    optimizer_of,
    rate_of,
    with_rate,
)
from kerasrl2.agents.planning import off_policy_updates
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.distributions.sampling import shape_of
from kerasrl2.layers import frozen_copy, update_target
from kerasrl2.losses import huber
from kerasrl2.training.off_policy import OffPolicyLoop

LOSSES = ("squared", "huber")
CRITIC_METRICS = ("critic_loss", "td_error", "q_value", "critic_gradient_norm")


class ReplayCritics:
    """Mixin: an actor and `K` critics that learn from replayed transitions.

    An update is one gradient step of the critics, at every `policy_delay`-th of them
    one of the actor, and at every `target_update_interval`-th a step of the target
    networks, `theta' <- theta' + tau (theta - theta')`. A subclass defines
    `next_actions` and `update_actor`.

    Args:
        network: The actor, a Keras model of `[B, ...]` observations.
        critic: Keras model of `[observation, action]` to `[B, K]`, all critics at once;
            actions are `[B, D]`, with bounds -1 and 1.
        head: Policy head with finite bounds.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        buffer: Replay buffer, which also sets `n_step`; None makes
            `ReplayBuffer(buffer_size)` of a million transitions.
        gamma: Float in [0, 1], discount per env step; None takes the buffer's.
        tau: Float in (0, 1], step of the target networks.
        target_update_interval: Integer, critic steps between these steps.
        policy_delay: Integer, critic steps between steps of the actor.
        loss: `"squared"` or `"huber"`, of the critics' errors.
        learning_rate: Float or Keras schedule over gradient steps, of optimizers that
            are not given.
        critic_learning_rate: The same of the critics alone; None: as `learning_rate`.
        actor_optimizer: Keras optimizer, the name of one, or None for Adam.
        critic_optimizer: The same, for all critics together.
        batch_size: Integer, transitions per gradient step.
        train_frequency: Integer, steps of each environment between updates.
        gradient_steps: Integer, updates made at a time.
        learning_starts: Integer, transitions in the buffer before the first update;
            actions are random until then.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        target_networks: Boolean, whether targets come from a slow copy of the critics.
        **kwargs: Keywords of `Agent`, without `optimizer`.

    Attributes:
        actor_metrics: Tuple of names of what `update_actor` returns.
        adam: Dictionary of options of the optimizers that are made.
    """

    loop_class = OffPolicyLoop
    actor_metrics = ("actor_loss", "actor_gradient_norm")
    adam = MappingProxyType({})

    gamma = Number(0.0, 1.0)
    tau = Number(0.0, 1.0, open_low=True)
    learning_starts = Number(integer=True)

    def __init__(
        self,
        network,
        critic,
        head,
        observation_spec=None,
        buffer=None,
        gamma=None,
        tau=0.005,
        target_update_interval=1,
        policy_delay=1,
        loss="squared",
        learning_rate=3e-4,
        critic_learning_rate=None,
        actor_optimizer=None,
        critic_optimizer=None,
        batch_size=256,
        train_frequency=1,
        gradient_steps=1,
        learning_starts=100,
        num_envs=1,
        target_networks=True,
        **kwargs,
    ):
        check_choice("loss", loss, LOSSES)
        super().__init__(network, head, observation_spec, None, **kwargs)
        if critic_learning_rate is None:
            critic_learning_rate = learning_rate
        self.actor_optimizer = self.optimizer_for(actor_optimizer, learning_rate)
        self.critic_optimizer = self.optimizer_for(
            critic_optimizer, critic_learning_rate
        )
        self.critic = usable_network(critic, None, "critic")
        self.target_networks = bool(target_networks)
        self.target_critic = frozen_copy(self.critic) if target_networks else None
        if buffer is None:
            discount = 0.99 if gamma is None else gamma
            buffer = ReplayBuffer(1_000_000, gamma=discount, seed=self.seed)
        self.buffer, self.gamma = buffer, buffer.gamma if gamma is None else gamma
        self.tau, self.loss, self.learning_starts = tau, loss, learning_starts
        for name, value in [
            ("target_update_interval", target_update_interval),
            ("policy_delay", policy_delay),
            ("batch_size", batch_size),
            ("train_frequency", train_frequency),
            ("gradient_steps", gradient_steps),
            ("num_envs", num_envs),
        ]:
            check_positive_integer(name, value)
            setattr(self, name, int(value))
        self.latest = self.add_weight(
            shape=(len(self.actor_metrics),), initializer="zeros", trainable=False,
            name="latest",
        )  # fmt: skip

    def optimizer_for(self, optimizer, learning_rate):
        """What a constructor's argument says: an optimizer, its name, or None."""
        adam = keras.optimizers.Adam
        return optimizer_of(made_optimizer(optimizer, learning_rate, adam, **self.adam))

    @classmethod
    def hyperparameters(cls):
        return [name for name in super().hyperparameters() if name != "optimizer"]

    @classmethod
    def planned_updates(cls, settings, steps):
        """Gradient steps of `steps` env steps; see `planning.off_policy_updates`."""
        return off_policy_updates(settings, steps)

    # Optimizers

    def optimizers(self):
        actor, critic = self.network, self.critic
        return {
            "actor": (self.actor_optimizer, actor.trainable_variables),
            "critic": (self.critic_optimizer, critic.trainable_variables),
        }

    @property
    def learning_rate(self):
        """The actor's; an assigned one is that of all optimizers."""
        return rate_of(self.actor_optimizer)

    @learning_rate.setter
    def learning_rate(self, rate):
        for name in self.optimizers():
            self._set_rate(name, rate)

    @property
    def critic_learning_rate(self):
        """Number or Keras schedule over gradient steps; may be assigned."""
        return rate_of(self.critic_optimizer)

    @critic_learning_rate.setter
    def critic_learning_rate(self, rate):
        self._set_rate("critic", rate)

    def _set_rate(self, name, rate):
        optimizer, variables = self.optimizers()[name]
        changed = with_rate(optimizer, checked_rate(rate), variables)
        if changed is not optimizer:
            setattr(self, f"{name}_optimizer", changed)

    # Acting

    def choose(self, outputs, seed, env_steps):
        """Actions of `sampled_actions`; random ones before `learning_starts`."""
        action = self.sampled_actions(outputs, seed, env_steps)
        anything = self.random_actions(outputs, seed + tf.constant([0, 1]))
        return tf.where(env_steps < self.learning_starts, anything, action)

    def random_actions(self, outputs, seed):
        """Actions that know nothing; arguments as of `choose`."""
        return self.head.random(shape_of(outputs.parameters)[0], seed)

    def sampled_actions(self, outputs, seed, env_steps):
        """Actions that explore; arguments as of `choose`. A draw of the policy."""
        del env_steps
        return self.head.sample(outputs.parameters, seed)

    # Learning

    def next_actions(self, observation, seed):
        """What targets assume is done next.

        Args:
            observation: `[B, ...]`, not normalised.
            seed: `[2]` int32.

        Returns:
            `(action, bonus)`: `[B, D]` with bounds -1 and 1, and what is added to the
            value of the next state, `[B]` float32 or a number.
        """
        raise NotImplementedError

    def update_actor(self, batch, seed):
        """One gradient step of the actor, and what belongs to it.

        Args:
            batch: `Transition`.
            seed: `[2]` int32.

        Returns:
            List of scalars, in the order of `actor_metrics`.
        """
        raise NotImplementedError

    def values_of(self, critic, observation, action, training=False):
        """What a critic says of pairs of states and actions.

        Args:
            critic: `self.critic` or `self.target_critic`.
            observation: `[B, ...]`, not normalised.
            action: `[B, D]`, with bounds -1 and 1.
            training: Boolean, Keras' argument.

        Returns:
            `[B, K]` float32, or with quantiles `[B, K, M]`.
        """
        inputs = [self.normalized(observation), tf.cast(action, tf.float32)]
        return tf.cast(critic(inputs, training=training), tf.float32)

    def compute_targets(self, batch, next_value, bonus, seed):
        """What the critics are to say: `r + discount (min_k Q_k(s', a') + bonus)`.

        Args:
            batch: `Transition`.
            next_value: `[B, K]` float32, of the next state and action.
            bonus: From `next_actions`.
            seed: `[2]` int32.

        Returns:
            `[B]` float32.
        """
        del seed
        following = tf.reduce_min(next_value, axis=1) + bonus
        return batch.reward + batch.discount * following

    def critic_losses(self, value, target):
        """`([B], [B])` float32: the loss, summed over critics, and the TD error."""
        error = target[:, None] - value
        loss = error**2 if self.loss == "squared" else huber(error)
        return tf.reduce_sum(loss, axis=1), tf.reduce_mean(error, axis=1)

    def critic_loss(self, batch, seed):
        """Loss of all critics and its metrics, for `gradient_step`.

        Args:
            batch: `Transition`.
            seed: `[2]` int32.
        """
        seeds = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        following, bonus = self.next_actions(batch.next_observation, seeds[0])
        value, next_value = self.paired_values(batch, following)
        target = self.compute_targets(batch, next_value, bonus, seeds[1])
        loss, error = self.critic_losses(value, tf.stop_gradient(target))
        weighted = tf.reduce_mean(batch.weight * loss)
        return weighted, {"td_error": error, "q_value": tf.reduce_mean(value)}

    def td_errors(self, batch, seed):
        """TD errors of a `Transition`, `[B]` float32, by which it is prioritized."""
        of_critic = tf.unstack(tf.random.split(seed, 2, alg="philox"))[0]
        return self.critic_loss(batch, of_critic)[1]["td_error"]

    @property
    def following_critic(self):
        """The critic that rates what follows: the target, if there is one."""
        return self.target_critic if self.target_networks else self.critic

    def paired_values(self, batch, following):
        """`[B, K]` of the actions taken, and of those that follow.

        Without target networks one pass gives both, so that layers which look at
        statistics of a batch see both.
        """
        observations = batch.observation, batch.next_observation
        actions = self.head.centred(batch.action), following
        if self.target_networks:
            value = self.values_of(self.critic, observations[0], actions[0], True)
            after = observations[1], actions[1]
            return value, self.values_of(self.target_critic, *after)
        observation, action = (
            tf.nest.map_structure(lambda a, b: tf.concat([a, b], 0), *pair)
            for pair in (observations, actions)
        )
        return tf.split(self.values_of(self.critic, observation, action, True), 2)

    def update(self, batch, seed):
        """One update of the critics, and what is due of the rest."""
        seeds = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        critic = self.gradient_step("critic", lambda: self.critic_loss(batch, seeds[0]))
        self._if_due(
            self.policy_delay,
            lambda: self.latest.assign(tf.stack(self.update_actor(batch, seeds[1]))),
        )
        if self.target_networks:
            self._if_due(self.target_update_interval, self.update_targets)
        td_error = critic.metrics["td_error"]
        metrics = {**critic.metrics, "td_error": tf.reduce_mean(tf.abs(td_error))}
        metrics |= {"critic_loss": critic.loss, "critic_gradient_norm": critic.norm}
        latest = tf.unstack(tf.convert_to_tensor(self.latest))
        return {**metrics, **dict(zip(self.actor_metrics, latest, strict=True))}, (
            td_error
        )

    def _if_due(self, interval, function):
        """Calls what writes variables after every `interval`-th step of the critics."""
        steps = tf.identity(self.critic_optimizer.iterations)
        run_if(tf.equal(steps % interval, 0) & self.guard.is_healthy(), function)

    def update_targets(self):
        """Moves the target networks by `tau`."""
        update_target(self.target_critic, self.critic, self.tau)

    # Checks

    def _check_network(self):
        super()._check_network()
        shapes = [tuple(output.shape) for output in self.symbolic_values()]
        if len(shapes) != 1 or not self._fits(shapes[0]):
            raise ValueError(
                f"Expected a critic with one output {self._wanted()}, the values of "
                f"all critics. Received: {shapes}. `layers.critic` makes one."
            )

    def symbolic_values(self):
        """List of the critic's symbolic outputs."""
        action = keras.KerasTensor((None, *self.head.action_shape), "float32")
        return outputs_of(self.critic, self.observation_spec, action)

    def _fits(self, shape):
        return len(shape) == 2

    def _wanted(self):
        return "[B, K]"
