"""The base class of agents and how they act; mixins learn, fit and save."""

import inspect

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_choice, check_keywords, plain
from kerasrl2._numbers import Number, number_names
from kerasrl2._private import is_bookkeeping
from kerasrl2._seeds import drawn_seed
from kerasrl2._words import with_our_words
from kerasrl2.agents.checking import (
    check_logits,
    check_masks,
    check_precision,
    check_replay,
    outputs_of,
    usable_network,
)
from kerasrl2.agents.fitting import Fitting
from kerasrl2.agents.hooks import check_hooks, check_renamed
from kerasrl2.agents.learning import Learning
from kerasrl2.agents.optimizing import check_clipping, check_optimizer
from kerasrl2.agents.remembering import check_recurrence, has_state, symbolic_step
from kerasrl2.agents.runtime import Runtime
from kerasrl2.agents.saving import Saving
from kerasrl2.agents.specs import ObservationSpec, batch_shape
from kerasrl2.distributions import mask_parameters
from kerasrl2.training.finite import Guard
from kerasrl2.types import PolicyOutputs

_KERAS_KEYWORDS = {"name", "dtype", "trainable"}
_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


class _ReadyAfterwards(type(keras.Model)):
    """Calls `ready` on an agent once its outermost constructor has returned."""

    def __call__(cls, *args, **kwargs):
        agent = super().__call__(*plain(args), **plain(kwargs))
        agent.ready()
        return agent


class Agent(Learning, Fitting, Saving, keras.Model, metaclass=_ReadyAfterwards):
    """Base class of agents: a Keras model that acts, learns and saves itself.

    A concrete agent defines `compute_loss` (and `update`, if an update is more than one
    gradient step), `metric_names` and `loop_class`, the training loop. Every argument
    of a constructor is kept as an attribute of the same name. What needs the complete
    agent belongs in `ready`, which is called after the outermost constructor.

    Args:
        network: `keras.Model`; one without weights yet is built for the observations.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        optimizer: `keras.optimizers.Optimizer`; None for an agent with several.
        max_gradient_norm: Float or None, global norm to clip gradients to.
        observation_normalizer: `RunningNormalization` or None.
        seed: Integer or None, of all random numbers; None draws one, which
            `keras.utils.set_random_seed` makes repeat.
        xla: `"auto"`, True or False: whether XLA compiles the loop.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> isinstance(agent, Agent), agent.predict(tf.zeros([3, 4])).shape
    (True, (3,))
    """

    metric_names = ("loss", "gradient_norm")
    loop_class = None
    not_state = ("_runtime", "guard")

    seed = Number(0, integer=True)
    max_gradient_norm = Number(0.0, open_low=True, optional=True)

    def __init__(
        self,
        network,
        head,
        observation_spec,
        optimizer,
        max_gradient_norm=None,
        observation_normalizer=None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        known = _KERAS_KEYWORDS | set(self.hyperparameters())
        check_keywords(type(self).__name__, kwargs, known)
        super().__init__(**kwargs)
        check_choice("xla", xla, ("auto", True, False))
        self.network, self.head = usable_network(network, observation_spec), head
        if observation_spec is None:
            observation_spec = ObservationSpec.of_network(network)
        self.observation_spec = observation_spec
        self.max_gradient_norm = max_gradient_norm
        self.observation_normalizer = observation_normalizer
        if observation_normalizer is not None and not observation_normalizer.built:
            seen = self.observation_spec.for_network
            observation_normalizer.build(batch_shape(seen))
        self.seed = drawn_seed() if seed is None else seed
        self.xla = xla
        self.env_steps = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False,
            name="env_steps",
        )  # fmt: skip
        self.guard = Guard()
        self._runtime = Runtime()
        if optimizer is None:
            self.optimizer = None
        else:
            self.compile(optimizer)

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        runtime = vars(self).get("_runtime")
        is_part = name not in number_names(type(self)) and not is_bookkeeping(name)
        if runtime is not None and is_part:
            runtime.forget_acting()  # compiled for the parts before

    def __getattr__(self, name):
        check_renamed(type(self).__name__, name)
        return super().__getattribute__(name)  # raises the original error

    def ready(self):
        """Checks and builds what needs the complete agent; called after construction.

        An override must first call `super().ready()`.

        Raises:
            ValueError: An argument was not kept as an attribute, the network does not
                fit the head, or an optimizer cannot be used.
        """
        self._check_attributes()
        check_hooks(type(self))
        self.built = True
        check_precision(self)
        check_recurrence(self)
        self._check_network()
        check_masks(self)
        check_replay(self)
        for optimizer, variables in self.optimizers().values():
            check_optimizer(optimizer, variables)
            check_clipping(optimizer, self.max_gradient_norm)
            optimizer.build(variables)
        self.warn_if_not_loadable()

    @classmethod
    def hyperparameters(cls):
        """Names of the constructor's keywords, including those it passes on."""
        names = {}
        for owner in cls.__mro__:
            if "__init__" not in vars(owner):
                continue
            parameters = inspect.signature(owner.__init__).parameters.values()
            names |= dict.fromkeys(p.name for p in parameters if p.kind in _NAMED)
            if owner is Agent or all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
        return [name for name in names if name != "self"]

    @classmethod
    def planned_updates(cls, settings, steps):
        """Number of gradient steps of a run, over which the zoo's schedules decay.

        Args:
            settings: Dictionary of all keywords of `for_env`.
            steps: Integer, env steps of the run.
        """
        del settings
        return max(1, steps)

    @classmethod
    def adapt_settings(cls, settings, tuned, overrides):
        """Settings adapted to those that a caller overrides.

        Args:
            settings: Dictionary of all keywords of `for_env`.
            tuned: Dictionary, the zoo's settings for the environment.
            overrides: Dictionary, the caller's settings.
        """
        del tuned, overrides
        return settings

    def summary(
        self,
        line_length=None,
        positions=None,
        print_fn=None,
        expand_nested=True,
        **more,
    ):
        """Prints all layers and their parameters, those inside of networks too."""
        super().summary(line_length, positions, print_fn, expand_nested, **more)

    # Acting

    def call(self, observation, policy_state=None, training=False):
        """The network's outputs for `[B, ...]` observations, which are normalised.

        With `policy_state` also its next state; see `initial_state`.
        """
        state = () if policy_state is None else (policy_state,)
        return self.network(self.normalized(observation), *state, training=training)

    def normalized(self, observation):
        """Normalised `[B, ...]` observations, the inputs of the network.

        Without the entry `action_mask`, if there is one.
        """
        observation = self.observation_spec.select(observation)
        if self.observation_normalizer is None:
            return observation
        return self.observation_normalizer(observation)

    def masked(self, parameters, observation):
        """Parameters of the head, or action values, without illegal actions.

        In environments that say which actions are legal, by the entry `action_mask` of
        observations; see `distributions.mask_parameters`. An override of `forward`
        must call it.

        Args:
            parameters: `[B, P]` float32.
            observation: `[B, ...]`, not normalised.
        """
        legal = self.observation_spec.legal_actions(observation)
        return parameters if legal is None else mask_parameters(parameters, legal)

    def initial_state(self, num_envs):
        """The policy's (recurrent) state at the start of an episode.

        That of the network, if it has a method `initial_state`; it is then called as
        `network(observation, state)`, and its last output is the next state.

        Args:
            num_envs: Integer, `N`.

        Returns:
            Nest of tensors `[N, ...]`; `()` for a policy without state.
        """
        return self.network.initial_state(num_envs) if has_state(self.network) else ()

    @property
    def remembers(self):
        """Whether the policy is recurrent: has a state."""
        return bool(tf.nest.flatten(self.initial_state(1)))

    def forward(self, observation, policy_state=(), training=False, seed=None):
        """The networks' outputs for a batch of observations.

        Unused outputs cost nothing: compiled functions do not compute them.

        Args:
            observation: `[B, ...]`.
            policy_state: Nest of `[B, ...]`, from `initial_state` or the step before.
            training: Boolean, Keras' `training` argument: True in a loss.
            seed: `[2]` int32, of a noisy network's noise; None: no noise.

        Returns:
            `types.PolicyOutputs`.
        """
        del seed
        outputs, policy_state = self.network_outputs(
            observation, policy_state, training
        )
        parameters = self.masked(tf.cast(outputs[0], tf.float32), observation)
        return PolicyOutputs(parameters, None, policy_state)

    def network_outputs(self, observation, policy_state=(), training=False):
        """`(outputs, policy_state)`: the network's outputs as a list, and its state."""
        if has_state(self.network):
            *outputs, policy_state = self(observation, policy_state, training=training)
            return outputs, policy_state
        outputs = self(observation, training=training)
        several = isinstance(outputs, list | tuple)
        return list(outputs) if several else [outputs], policy_state

    def choose(self, outputs, seed, env_steps):
        """Actions of the training loop, in the policy's own coordinates.

        Args:
            outputs: `types.PolicyOutputs` of `N` observations.
            seed: `[2]` int32 stateless seed.
            env_steps: Scalar int64, env steps so far, the argument of exploration
                schedules.

        Returns:
            `[N, *head.action_shape]`, the actions that the loss uses.
        """
        del env_steps
        return self.head.sample(outputs.parameters, seed)

    def greedy(self, outputs):
        """Greedy actions, `[N, *head.action_shape]`: the policy's mode."""
        return self.head.mode(outputs.parameters)

    def act(self, observation, training=False, seed=None, policy_state=None):
        """Actions in the environment's own coordinates.

        May be called inside `tf.function`. Outside, it is compiled once and takes and
        returns NumPy arrays.

        Args:
            observation: `[B, ...]` or one observation.
            training: Boolean, explore (True) or act greedily (False).
            seed: `[2]` int32 stateless seed; outside a graph it may be left out.
            policy_state: For a policy with a state: nest of `[B, ...]`, from
                `initial_state(B)` or the call before; `B` is 1 for one observation.

        Returns:
            `[B]` or `[B, ...]` actions, without `B` for one observation; with
            `policy_state` a pair of the actions and the next state.
        """
        training = training or self.acts_at_random
        if not tf.inside_function():
            return self._runtime.act(self, observation, training, seed, policy_state)
        state = () if policy_state is None else policy_state
        if training:
            if seed is None:
                raise ValueError(
                    "Expected `seed`, [2] int32, to draw actions inside a graph, which "
                    f"has no other source of chance. Received: none, for {self.name!r}."
                )
            noise = seed + tf.constant([1, 0])
            outputs = self.forward(observation, state, seed=noise)
            action = self.choose(outputs, seed, tf.convert_to_tensor(self.env_steps))
        else:
            outputs = self.forward(observation, state)
            action = self.greedy(outputs)
        action = self.head.to_env(action)
        return action if policy_state is None else (action, outputs.policy_state)

    @with_our_words
    def predict(self, observation, greedy=True):
        """NumPy actions for a batch of observations, `[B, ...]`."""
        return np.asarray(self.act(observation, training=not greedy))

    @property
    def policy(self):
        """The greedy policy as a Keras model, for export, transfer and plain Keras.

        From a batch of observations as the environment gives them to a dictionary:
        `"action"`, as `act` returns it, `"parameters"` `[B, P]` (or action values
        `[B, A]`) and, where there is one, `"value"` `[B]`. Normaliser, scaling and head
        are inside. It shares the agent's weights and goes on learning with them;
        `policy.save` keeps them as they are.

        One that remembers takes `[observation, policy_state]`, the latter from
        `initial_state` or the call before; the next one is `"policy_state"`.
        """
        return self._runtime.policy(self)

    def policy_outputs(self, observation, policy_state=()):
        """What `forward` says, of symbolic observations, for `policy`.

        Args:
            observation: Keras tensor `[B, ...]`, normalised.
            policy_state: Nest of Keras tensors `[B, ...]`, `()` without memory.

        Returns:
            Dictionary with `"parameters"`, a float32 Keras tensor `[B, P]`, and what
            else is an output of `policy`: the next `"policy_state"`, with memory.
        """
        outputs, after = symbolic_step(self.network, observation, policy_state)
        return {"parameters": keras.ops.cast(outputs[0], "float32"), **after}

    # Checks

    def symbolic_outputs(self):
        """List of the network's symbolic outputs for a batch of observations."""
        return outputs_of(self.network, self.observation_spec)

    def _check_network(self):
        shape = tuple(self.symbolic_outputs()[0].shape)
        if shape[1:] != (self.head.num_parameters,):
            raise ValueError(
                f"Expected a network whose first output is [B, "
                f"{self.head.num_parameters}], the parameters of "
                f"{type(self.head).__name__}. Received: {shape}"
            )
        if self.head.kind == "categorical":
            check_logits(self.network, self.observation_spec, "logits")

    def _check_attributes(self):
        missing = [name for name in self.hyperparameters() if not hasattr(self, name)]
        if missing:
            raise ValueError(
                f"Expected each argument of {type(self).__name__} as an attribute of "
                f"the same name, for saving. Received: none named "
                f"{', '.join(map(repr, missing))}. Add `self.{missing[0]} = "
                f"{missing[0]}` to the constructor."
            )
