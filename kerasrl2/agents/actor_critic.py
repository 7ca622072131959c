"""What the actor-critic agents share."""

import inspect

import tensorflow as tf
from keras import ops

from kerasrl2 import envs
from kerasrl2._checks import check_keywords, check_positive_integer, check_range
from kerasrl2.agents.planning import keep_minibatches, on_policy_updates
from kerasrl2.agents.specs import ObservationSpec
from kerasrl2.distributions import head_for
from kerasrl2.layers import (
    RewardScaling,
    RunningNormalization,
    actor_critic,
    seed_weights,
)
from kerasrl2.returns import generalized_advantages, n_step_returns
from kerasrl2.statistics import masked_moments
from kerasrl2.training.on_policy import OnPolicyLoop


class ActorCriticMixin:
    """Values, advantages and normalisation for agents with a policy and a value.

    The network maps observations to `[parameters, value]`: `[B, P]` for the policy head
    and `[B]` or `[B, 1]`.
    """

    loop_class = OnPolicyLoop

    @classmethod
    def for_env(
        cls,
        env,
        network=None,
        hidden=(64, 64),
        activation="tanh",
        shared_trunk=False,
        encoder="auto",
        distribution="auto",
        standard_deviation="independent",
        initial_log_std=0.0,
        normalize_observations=False,
        normalize_rewards=False,
        gamma=0.99,
        seed=None,
        **hyperparameters,
    ):
        """Makes an agent whose network and policy head fit an environment.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            network: Keras model from observations to `[parameters, value]`, or None to
                build one from the following.
            hidden: Sequence of integers, units of the hidden layers.
            activation: String, Keras activation of the hidden layers.
            shared_trunk: Boolean, one trunk for policy and value, or one each.
            encoder: `"auto"` (images: the Nature network; else dense layers), `"mlp"`
                or `"nature_cnn"`.
            distribution: `"auto"` (categorical or diagonal Gaussian), `"gaussian"`,
                `"squashed_gaussian"` or `"beta"`.
            standard_deviation: `"independent"` of the state or `"dependent"` on it.
            initial_log_std: Float, the logarithm of its initial value.
            normalize_observations: Boolean, by running mean and variance.
            normalize_rewards: Boolean, by the running deviation of returns.
            gamma: Float in [0, 1], discount per env step.
            seed: Integer or None, of weights, actions and environments.
            **hyperparameters: Keywords of the constructor.

        Returns:
            An agent.
        """
        own = inspect.signature(cls.for_env).parameters
        known = {*own, *cls.hyperparameters()} - {
            "env",
            "hyperparameters",
            "head",
            "observation_spec",
        }
        check_keywords(f"{cls.__name__}.for_env", hyperparameters, known)
        check_range("seed", seed, 0)
        made = env if isinstance(env, envs.Environment) else envs.make(env)
        spec = ObservationSpec.of_space(made.observation_space)
        head = head_for(made.action_space, distribution)
        if made is not env and isinstance(env, str):
            made.close()
        if network is None:
            gaussian = "gaussian" in head.kind
            network = actor_critic(
                spec.shape,
                head.num_parameters,
                hidden=hidden,
                activation=activation,
                shared=shared_trunk,
                encoder=encoder,
                num_classes=spec.num_classes,
                gaussian_std=standard_deviation if gaussian else None,
                initial_log_std=initial_log_std,
            )
            if seed is not None:
                seed_weights(network, seed)
        if normalize_observations and spec.dtype == "float32":
            hyperparameters["observation_normalizer"] = RunningNormalization()
        if normalize_rewards:
            hyperparameters["reward_scaling"] = RewardScaling(gamma)
        return cls(network, head, spec, gamma=gamma, seed=seed, **hyperparameters)

    @classmethod
    def planned_updates(cls, settings, steps):
        """Gradient steps of `steps` env steps; see `planning.on_policy_updates`."""
        return on_policy_updates(settings, steps)

    @classmethod
    def adapt_settings(cls, settings, tuned, overrides):
        """Settings for another rollout size; see `planning.keep_minibatches`."""
        return keep_minibatches(settings, tuned, overrides)

    def policy_and_value(self, observation, training=False):
        """`[B, ...]` observations to float32 parameters `[B, P]` and values `[B]`."""
        parameters, value = self(observation, training=training)
        if len(value.shape) == 2:
            value = ops.squeeze(value, axis=-1)
        return ops.cast(parameters, "float32"), ops.cast(value, "float32")

    def explore_with_value(self, observation, seed):
        """What `explore` plays, and the network's outputs from the same pass.

        Args:
            observation: `[N, ...]`.
            seed: `[2]` int32 stateless seed.

        Returns:
            `(env_action, action, parameters, value)`: as from `explore`, and as from
            `policy_and_value`.
        """
        parameters, value = self.policy_and_value(observation)
        with self._runtime.sharing(observation, parameters):
            return *self.explore(observation, seed), parameters, value

    def advantages(self, rollout, value, next_value):
        """Advantages and value targets, both `[T, N]`.

        Generalized advantage estimation with `lambda_`, or with `n_step` the n-step
        return minus the value.

        Args:
            rollout: `Rollout` with scaled rewards.
            value: `[T, N]` float32, `V(s_t)`.
            next_value: `[T, N]` float32, `V` of the true successor of step `t`.
        """
        discount = self.gamma * (1.0 - tf.cast(rollout.terminated, tf.float32))
        ended = rollout.terminated | rollout.truncated
        if self.n_step is not None:
            target = n_step_returns(
                rollout.reward, discount, ended, next_value, self.n_step
            )
            return target - value, target
        advantage = generalized_advantages(
            rollout.reward, discount, ended, value, next_value, self.lambda_
        )
        return advantage, advantage + value

    def scale_reward(self, rollout, running_reward, usable):
        """Scaled rewards `[T, N]` and the discounted returns under way, `[N]`."""
        reward = tf.where(usable, rollout.reward, 0.0)
        if self.reward_scaling is None:
            return reward, running_reward
        running_reward = self.reward_scaling.update(
            reward, rollout.terminated | rollout.truncated, running_reward, usable
        )
        return self.reward_scaling(reward), running_reward

    def normalized(self, advantage, valid):
        """Advantages `[B]` with mean 0 and deviation 1 over the minibatch."""
        if advantage.shape[0] == 1:
            return advantage
        moments = masked_moments(advantage, valid, feature_rank=0)
        return (advantage - moments.mean) / (ops.sqrt(moments.variance) + 1e-8)

    def _check_rollout_knobs(self):
        if self.reward_scaling is not None and not self.reward_scaling.built:
            self.reward_scaling.build(())
        for name in ("rollout_length", "num_epochs", "num_envs"):
            check_positive_integer(name, getattr(self, name))
        for name in ("batch_size", "n_step"):
            if getattr(self, name) is not None:
                check_positive_integer(name, getattr(self, name))
        for name in ("value_clip", "target_kl"):
            check_range(name, getattr(self, name, None), 0.0, open_low=True)

    def _check_network(self):
        super()._check_network()
        outputs = self.symbolic_outputs()
        shapes = [tuple(output.shape) for output in outputs]
        if len(shapes) != 2 or shapes[1][1:] not in ((), (1,)):
            raise ValueError(
                f"Expected a network with two outputs, parameters [B, "
                f"{self.head.num_parameters}] and value [B] or [B, 1]. "
                f"Received: {shapes}"
            )
