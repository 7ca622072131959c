"""Deep Q-networks and their extensions, up to Rainbow."""

import inspect
import math

import keras
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._control import run_if
from kerasrl2._numbers import Number
from kerasrl2._private import layers_of
from kerasrl2.action_values import ScalarValues
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.checking import check_logits, q_outputs_of, usable_network
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.planning import off_policy_updates
from kerasrl2.agents.policies import ExpectedValues, Midpoints
from kerasrl2.agents.q_builder import QLearningBuilder
from kerasrl2.agents.q_sequences import SequenceReplay
from kerasrl2.agents.registry import register
from kerasrl2.agents.remembering import symbolic_step
from kerasrl2.agents.specs import ObservationSpec
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.distributions import Categorical, mask_parameters
from kerasrl2.distributions.masks import ILLEGAL, is_legal
from kerasrl2.exploration import EpsilonGreedy, Exploration
from kerasrl2.layers import NoisyDense, frozen_copy, seed_noise, update_target
from kerasrl2.losses import (
    greedy_policy,
    munchausen_reward,
    scaled_log_policy,
    value_of_action,
)
from kerasrl2.training.off_policy import OffPolicyLoop
from kerasrl2.types import Memory, PolicyOutputs


@register(
    "dqn",
    title="Deep Q-networks",
    actions=("discrete",),
    quick={
        "hidden": (8,),
        "learning_starts": 64,
        "batch_size": 16,
        "buffer_size": 512,
    },
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class DQN(QLearningBuilder, SequenceReplay, Agent):
    """Deep Q-network: Q-learning from replayed transitions with a target network.

    Algorithm 1 of Mnih et al. (2015), https://doi.org/10.1038/nature14236:
    `loss = mean(w * huber(r + discount * max_b Q'(s', b) - Q(s, a)))`, with the
    replay's importance weights `w`. Its extensions are arguments or components:

    - `double=True`: the network chooses the next action, the target network rates it;
      equation (4) of van Hasselt et al. (2016), https://arxiv.org/abs/1509.06461.
    - prioritized replay, n-step returns, frame stacks: the `buffer`.
    - dueling and noisy networks: the `q_network` (`layers.q_network`).
    - C51, QR-DQN, IQN: `action_values`.
    - recurrent networks, in the style of R2D2: `SequenceReplay`.
    - `munchausen=0.9`: Munchausen rewards and soft targets; Vieillard et al. (2020),
      https://arxiv.org/abs/2007.14430.

    `DQN.for_env` builds them by keyword, and `Rainbow.for_env` all at once.

    Args:
        q_network: Keras model from `[B, ...]` observations to the input of
            `action_values`; by default `[B, A]` action values in units of return. One
            with `initial_state` is recurrent, see `layers.RecurrentNetwork`.
        head: `distributions.Categorical`, or None to infer it from the network.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        action_values: One of `kerasrl2.action_values`; None takes `ScalarValues()`.
        buffer: Replay buffer, which also sets `n_step`; None makes
            `ReplayBuffer(100_000)`.
        gamma: Float in [0, 1], discount per env step; None takes the buffer's.
        exploration: One of `kerasrl2.exploration`; None takes epsilon-greedy, from 1 to
            0.05 over 10 000 env steps. Before `learning_starts` actions are random.
        learning_rate: Float or Keras schedule over gradient steps; ignored if an
            `optimizer` object is given.
        optimizer: Keras optimizer or the name of one; None makes Adam.
        double: Boolean, double Q-learning.
        munchausen: Float in [0, 1] or None, the paper's `alpha`.
        temperature: Float > 0, the paper's `tau`, of the soft policy with `munchausen`.
        tau: Float in (0, 1], step of the target network towards the network: 1 copies.
        target_update_interval: Integer, gradient steps between these steps.
        clip_rewards: Float `c` or None, clips rewards to `[-c, c]` for learning;
            reported returns are not clipped.
        max_gradient_norm: Float or None, global norm to clip gradients to.
        batch_size: Integer, transitions per gradient step; sequences, with a recurrent
            network.
        train_frequency: Integer, steps of each environment between updates.
        gradient_steps: Integer, updates made at a time.
        learning_starts: Integer, transitions in the buffer before the first update.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        accumulation_steps: Integer, parts in which the gradients of a minibatch are
            computed, one after another, to need less memory; weights are the same.
        sequence_length: Integer, steps of a sequence that are learned from, with a
            recurrent network; None takes 16.
        burn_in: Integer >= 0, steps before them that renew the state; None takes 4.
        eta: Float in [0, 1], share of the largest TD error in a sequence's priority;
            the rest is their mean's.
        observation_normalizer: `layers.RunningNormalization` or None.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Metrics: `loss`, `td_error` (mean absolute), `q_value` (mean over actions taken),
    `gradient_norm` (before clipping); with epsilon-greedy exploration `epsilon`.

    Example:
    >>> agent = DQN.for_env("CartPole-v1", learning_starts=64, double=True, seed=0)
    >>> history = agent.fit("CartPole-v1", steps=128, epochs=1, verbose=0)
    >>> int(agent.optimizer.iterations)
    64
    """

    metric_names = ("loss", "td_error", "q_value", "gradient_norm")
    can_remember = True
    loop_class = OffPolicyLoop

    gamma = Number(0.0, 1.0)
    munchausen = Number(0.0, 1.0, optional=True)
    temperature = Number(0.0, math.inf, open_low=True, open_high=True)
    tau = Number(0.0, 1.0, open_low=True)
    clip_rewards = Number(0.0, open_low=True, optional=True)
    target_update_interval = Number(integer=True)
    learning_starts = Number(integer=True)

    def __init__(
        self,
        q_network,
        head=None,
        observation_spec=None,
        action_values=None,
        buffer=None,
        gamma=None,
        exploration=None,
        learning_rate=1e-3,
        optimizer=None,
        double=False,
        munchausen=None,
        temperature=0.03,
        tau=1.0,
        target_update_interval=500,
        clip_rewards=None,
        max_gradient_norm: float | None = 10.0,
        batch_size=64,
        train_frequency=1,
        gradient_steps=1,
        learning_starts=1000,
        num_envs=1,
        accumulation_steps=1,
        sequence_length: int | None = None,
        burn_in: int | None = None,
        eta=0.9,
        observation_normalizer=None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        optimizer = made_optimizer(optimizer, learning_rate, keras.optimizers.Adam)
        if double and munchausen is not None:
            raise ValueError(
                "Expected `double` or `munchausen`: a soft target has no greedy action "
                f"to choose. Received: double={double}, munchausen={munchausen}"
            )
        q_network = usable_network(q_network, observation_spec, "q_network")
        spec = observation_spec or ObservationSpec.of_network(q_network)
        action_values = action_values or ScalarValues()
        for name, value in [
            ("batch_size", batch_size),
            ("train_frequency", train_frequency),
            ("gradient_steps", gradient_steps),
            ("num_envs", num_envs),
            ("accumulation_steps", accumulation_steps),
        ]:
            check_positive_integer(name, value)
        super().__init__(
            q_network,
            head
            or Categorical(q_outputs_of(q_network, spec, action_values)[0].shape[1]),
            spec,
            optimizer,
            max_gradient_norm=max_gradient_norm,
            observation_normalizer=observation_normalizer,
            seed=seed,
            xla=xla,
            **kwargs,
        )
        self.action_values = action_values
        self._set_sequences(sequence_length, burn_in, eta)
        self.exploration = exploration or EpsilonGreedy(
            keras.optimizers.schedules.PolynomialDecay(1.0, 10_000, 0.05)
        )
        if buffer is None:
            buffer = ReplayBuffer(
                100_000, gamma=0.99 if gamma is None else gamma, seed=self.seed
            )
        self.buffer, self.gamma = buffer, buffer.gamma if gamma is None else gamma
        self.double, self.munchausen = double, munchausen
        self.temperature, self.tau = temperature, tau
        self.target_update_interval = target_update_interval
        self.clip_rewards = clip_rewards
        self.batch_size, self.num_envs = batch_size, num_envs
        self.accumulation_steps = accumulation_steps
        self.train_frequency, self.gradient_steps = train_frequency, gradient_steps
        self.learning_starts = learning_starts
        self.target_network = frozen_copy(q_network)
        self._noisy = any(isinstance(x, NoisyDense) for x in layers_of(q_network))

    @classmethod
    def hyperparameters(cls):
        return [name for name in super().hyperparameters() if name != "network"]

    @classmethod
    def planned_updates(cls, settings, steps):
        """Gradient steps of `steps` env steps; see `planning.off_policy_updates`."""
        return off_policy_updates(settings, steps)

    @property
    def q_network(self):
        """The network that is trained."""
        return self.network

    # Acting

    def forward(self, observation, policy_state=(), training=False, seed=None):
        """`PolicyOutputs` with expected action values `[B, A]` as `parameters`."""
        if seed is not None and self._noisy:
            seed_noise(self.q_network, seed)
            training = True
        outputs, policy_state = self.read_step(observation, policy_state, training)
        values = self.masked(self.action_values.expected(outputs), observation)
        return PolicyOutputs(values, None, policy_state)

    def choose(self, outputs, seed, env_steps):
        """Actions of `exploration`; random ones before `learning_starts`."""
        seeds = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        q_values = outputs.parameters
        if self.observation_spec.has_mask:
            action, random_action = self._choose_legal(q_values, seeds, env_steps)
        else:
            action = self.exploration(q_values, env_steps, seeds[0])
            random_action = self.head.random(tf.shape(q_values)[0], seeds[1])
        return tf.where(env_steps < self.learning_starts, random_action, action)

    def _choose_legal(self, q_values, seeds, env_steps):
        """An action of `exploration` and a random one, both legal."""
        legal = q_values > 0.5 * ILLEGAL
        takes = inspect.signature(self.exploration).parameters
        more = {"legal": legal} if "legal" in takes else {}
        action = self.exploration(q_values, env_steps, seeds[0], **more)
        greedy = tf.argmax(q_values, axis=-1, output_type=tf.int32)
        action = tf.where(is_legal(action, legal), action, greedy)
        equal = mask_parameters(tf.zeros_like(q_values), legal)
        return action, self.head.sample(equal, seeds[1])

    def policy_outputs(self, observation, policy_state=()):
        values, inputs = self.action_values, observation
        if values.takes_fractions:
            midpoints = Midpoints(values.num_policy_quantiles, dtype="float32")
            inputs = [observation, midpoints(keras.tree.flatten(observation)[0])]
        expected = ExpectedValues(values, dtype="float32")
        outputs, after = symbolic_step(self.q_network, inputs, policy_state)
        return {"parameters": expected(outputs[0]), **after}

    # Learning

    def stored(self, rollout):
        """The `Rollout` to store, with clipped rewards and the policy's states."""
        rollout = self.with_states(rollout)
        if self.clip_rewards is None:
            return rollout
        reward = tf.clip_by_value(rollout.reward, -self.clip_rewards, self.clip_rewards)
        return rollout._replace(reward=reward)

    def targets(self, batch, seeds=(None, None)):
        """Targets of the network's outputs for the actions taken.

        Args:
            batch: `Transition` of `B` rows.
            seeds: Two `[2]` int32 seeds, for `action_values` that sample.

        Returns:
            The result of `action_values.target`: `[B]` float32 for scalar values.
        """
        values, noisy, following = (
            self.action_values,
            self._noisy,
            batch.next_observation,
        )
        after = batch.memory or Memory(None, None, None)
        next_outputs = self.read(
            self.target_network, following, noisy, seeds[0], after.next_target
        )
        if self.munchausen is not None:
            return self._soft_targets(batch, next_outputs)
        chooser = values.expected(next_outputs)
        if self.double:
            online = self.read(
                self.q_network, following, noisy, seeds[1], after.next_online
            )
            chooser = values.expected(online)
        policy = greedy_policy(self.masked(chooser, batch.next_observation))
        return values.target(next_outputs, policy, batch.reward, batch.discount)

    def _soft_targets(self, batch, next_outputs):
        """Targets with Munchausen rewards, the softmax policy and its entropy."""
        values, temperature = self.action_values, self.temperature
        state = batch.memory.target if batch.memory else None
        now = self.read(
            self.target_network, batch.observation, self._noisy, state=state
        )
        now = self.masked(values.expected(now), batch.observation)
        bonus = munchausen_reward(now, batch.action, temperature, self.munchausen)
        following = self.masked(values.expected(next_outputs), batch.next_observation)
        log_policy = scaled_log_policy(following, temperature)
        policy = tf.exp(log_policy / temperature)
        entropy = -tf.reduce_sum(policy * log_policy, axis=-1)
        reward = batch.reward + bonus + batch.discount * entropy
        return values.target(next_outputs, policy, reward, batch.discount)

    def compute_loss(self, batch, seed):
        """Loss and metrics of a `Transition`; `td_error` is `[B]`, the rest scalars.

        With a recurrent network, of `ReplayedSequences`; `td_error` is the priorities'.
        """
        seeds = tf.unstack(tf.random.split(seed, 5, alg="philox"))
        if self._noisy:
            seed_noise(self.q_network, seeds[3])
            seed_noise(self.target_network, seeds[4])
        if self.remembers:
            return self.loss_of_sequences(batch, seeds)
        target = self.targets(batch, seeds[:2])
        outputs = self.read(self.q_network, batch.observation, True, seeds[2])
        loss, td_error = self.action_values.loss(outputs, batch.action, target)
        q_value = value_of_action(self.action_values.expected(outputs), batch.action)
        return tf.reduce_mean(batch.weight * loss), {
            "td_error": td_error,
            "q_value": tf.reduce_mean(q_value),
        }

    def td_errors(self, batch, seed):
        """TD errors of a `Transition`, `[B]` float32, by which it is prioritized."""
        return self.compute_loss(batch, seed)[1]["td_error"]

    def seed_of_part(self, seed, index):
        """The batch's: its noise is one for all rows; but rows sample fractions."""
        sampling = self.action_values.takes_fractions
        return super().seed_of_part(seed, index) if sampling else seed

    def apply_gradients(self, gradients):
        """Takes one gradient step and, when due, updates the target network.

        Returns `(metrics, td_error)`: a dictionary of scalars, and `[B]` float32.
        """
        before = tf.identity(self.optimizer.iterations)
        metrics, _ = super().apply_gradients(gradients)
        steps = tf.identity(self.optimizer.iterations)
        interval = tf.cast(self.target_update_interval, steps.dtype)
        run_if(
            (steps > before) & tf.equal(steps % interval, 0),  # not if it was refused
            lambda: update_target(self.target_network, self.q_network, self.tau),
        )
        td_error = metrics["td_error"]
        return {**metrics, "td_error": tf.reduce_mean(tf.abs(td_error))}, td_error

    @property
    def updates_in_halves(self):
        """Whether an update is just `compute_gradients` and `apply_gradients`."""
        return type(self).update is Agent.update

    def progress_logs(self):
        logs = {**super().progress_logs(), **self.exploration.logs(self.env_steps)}
        if hasattr(self.buffer, "beta"):
            logs["beta"] = float(self.buffer.beta())
        return logs

    # Checks

    def loop(self, env):
        if isinstance(self.exploration, Exploration):
            self.exploration.check(env.num_envs)
        return super().loop(env)

    def symbolic_outputs(self):
        """List of the network's symbolic outputs for a batch of observations."""
        return q_outputs_of(self.network, self.observation_spec, self.action_values)

    def _check_network(self):
        shapes = [tuple(output.shape) for output in self.symbolic_outputs()]
        if len(shapes) != 1:
            raise ValueError(f"Expected a network with one output. Received: {shapes}")
        self.action_values.check(shapes[0], self.head.num_actions)
        if not self.action_values.takes_fractions:
            what = "action values, or their logits with C51"
            check_logits(self.network, self.observation_spec, what)
