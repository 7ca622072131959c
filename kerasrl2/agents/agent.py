"""What all agents share: acting, learning steps, fitting, evaluating, saving."""

import inspect
import secrets

import keras
import numpy as np
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2._checks import (
    check_choice,
    check_keywords,
    check_positive_integer,
    check_range,
)
from kerasrl2.agents._gradients import (
    differentiate,
    refuse_loss_scaling,
    take_step,
)
from kerasrl2.agents.compiled import Runtime, compiled_when_eager, is_recipe
from kerasrl2.agents.specs import ObservationSpec, check_spaces
from kerasrl2.errors import EnvironmentFailure, NonFiniteError
from kerasrl2.training.fit import fit_loop
from kerasrl2.training.resume import checkpoint_of

_KERAS_KEYWORDS = {"name", "dtype", "trainable"}
_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


class Agent(keras.Model):
    """Base of all agents: a Keras model that acts, learns, saves.

    A concrete agent gives `compute_loss` (and, if one gradient step is not all its
    learning, `update`), `metric_names`, and the loop that feeds it.

    Args:
        network: Built `keras.Model`.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to read it off the network.
        optimizer: `keras.optimizers.Optimizer`.
        max_gradient_norm: Float or None, the global norm gradients are clipped to.
        observation_normalizer: `RunningNormalization` or None.
        seed: Integer or None, of all random numbers; None draws one.
        xla: `"auto"`, True or False: whether XLA compiles the loop.
    """

    metric_names = ("loss", "gradient_norm")
    loop_class = None

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
        check_range("max_gradient_norm", max_gradient_norm, 0.0, open_low=True)
        check_range("seed", seed, 0)
        self.network, self.head = network, head
        if observation_spec is None:
            observation_spec = ObservationSpec.of_network(network)
        self.observation_spec = observation_spec
        self.max_gradient_norm = max_gradient_norm
        self.observation_normalizer = observation_normalizer
        if observation_normalizer is not None and not observation_normalizer.built:
            observation_normalizer.build((None, *self.observation_spec.shape))
        self.seed = secrets.randbelow(2**31) if seed is None else int(seed)
        self.xla = xla
        self.env_steps = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False,
            name="env_steps",
        )  # fmt: skip
        self.built = True
        self._check_network()
        refuse_loss_scaling(optimizer)
        self.compile(optimizer=optimizer, jit_compile=False)
        self.optimizer.build(self.trainable_variables)
        self._runtime = Runtime()

    @classmethod
    def hyperparameters(cls):
        """Names of all keywords the constructor takes, those it passes on included."""
        names = {}
        for owner in cls.__mro__:
            if "__init__" not in vars(owner):
                continue
            parameters = inspect.signature(owner.__init__).parameters.values()
            names |= dict.fromkeys(p.name for p in parameters if p.kind in _NAMED)
            if owner is Agent or all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
        return [name for name in names if name != "self"]

    # Acting

    def call(self, observation, training=False):
        """What the network says of `[B, ...]` observations, normalised first."""
        if self.observation_normalizer is not None:
            observation = self.observation_normalizer(observation)
        return self.network(observation, training=training)

    def policy_parameters(self, observation):
        """`[B, ...]` observations to the head's parameters `[B, P]`.

        Computes no more of the network than the policy needs.
        """
        shared = self._runtime.shared_parameters(observation)
        if shared is not None:
            return shared
        if self.observation_normalizer is not None:
            observation = self.observation_normalizer(observation)
        outputs = self._runtime.policy_network(self.network)(observation)
        return outputs[0] if isinstance(outputs, list | tuple) else outputs

    @compiled_when_eager
    def act(self, observation, training=False, seed=None):
        """Actions as the environment takes them.

        Usable inside `tf.function`; called outside, it is compiled once and accepts
        and returns NumPy arrays.

        Args:
            observation: `[B, ...]` or one observation.
            training: Boolean, sample (True) or take the mode (False).
            seed: `[2]` int32 stateless seed; outside a graph it may be left out.

        Returns:
            `[B]` or `[B, ...]` actions, without `B` for one observation.
        """
        parameters = self.policy_parameters(observation)
        if training:
            return self.head.to_env(self.head.sample(parameters, seed))
        return self.head.to_env(self.head.mode(parameters))

    def explore(self, observation, seed, env_steps=None):
        """What the training loop plays.

        Args:
            observation: `[N, ...]`.
            seed: `[2]` int32 stateless seed.
            env_steps: Scalar int64, env steps so far, or None where the loop does not
                count them: what schedules of exploration are over.

        Returns:
            `(env_action, action)`: as the environment takes it, and in the policy's own
            coordinates, which the loss scores.
        """
        del env_steps
        action = self.head.sample(self.policy_parameters(observation), seed)
        return self.head.to_env(action), action

    def observe(self, observation, usable):
        """Lets the observation statistics see steps that count.

        Args:
            observation: `[T, N, ...]`.
            usable: `[T, N]` bool.
        """
        if self.observation_normalizer is not None:
            self.observation_normalizer.update(observation, usable)

    def predict(self, observation, greedy=True):
        """NumPy actions for a batch of observations, `[B, ...]`."""
        return np.asarray(self.act(np.asarray(observation), training=not greedy))

    # Learning

    def compute_loss(self, batch):
        """`(loss, metrics)` of a batch: a scalar and a dictionary of scalars."""
        raise TypeError(f"{type(self).__name__} does not define `compute_loss`.")

    def compute_gradients(self, batch):
        """`types.Gradients` of the loss; reads weights and writes none."""
        return differentiate(self, batch)

    def apply_gradients(self, gradients):
        """Takes one gradient step; returns a dictionary of scalars.

        A step with a NaN or infinite loss or gradient is not taken; the loop sees it in
        the returned `loss` and `gradient_norm` and stops the run.
        """
        take_step(self, gradients)
        own = {"loss": gradients.loss, "gradient_norm": gradients.norm}
        return {**gradients.metrics, **own}

    def update(self, batch):
        """One gradient step, in a graph: `compute_gradients`, `apply_gradients`."""
        return self.apply_gradients(self.compute_gradients(batch))

    def progress_logs(self):
        """What else callbacks and the history are told at an epoch's end, floats."""
        return {"learning_rate": float(self.optimizer.learning_rate)}

    def stops(self, metrics):
        """Scalar bool, whether the remaining epochs are skipped after `metrics`."""
        del metrics
        return tf.constant(False)

    # Fitting and evaluating

    def fit(
        self,
        env,
        steps,
        epochs=10,
        callbacks=None,
        validation_env=None,
        validation_episodes=10,
        verbose="auto",
        num_envs=None,
        initial_epoch=0,
        checkpoint_dir=None,
        checkpoint_every=None,
        resume=False,
    ):
        """Trains for `steps` env steps and reports once an epoch.

        A second call with the same environment goes on where the first one stopped.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            steps: Integer, env steps, rounded up to whole rollouts.
            epochs: Integer, how often to report, evaluate and call back.
            callbacks: List of `keras.callbacks.Callback`.
            validation_env: As `env`: evaluated on, greedily, at each epoch's end.
            validation_episodes: Integer.
            verbose: 0 silent, 1 live progress bar, 2 one line an epoch, `"auto"`: 1 on
                a terminal, else 2.
            num_envs: Integer, copies of an `env` given by id or callable; None takes
                the agent's `num_envs`.
            initial_epoch: Integer, the number the first epoch is given.
            checkpoint_dir: String or path, where `callbacks.TrainingCheckpoint` keeps
                checkpoints of the whole run; give the callback itself for its options.
            checkpoint_every: Integer, env steps between them; None is each epoch.
            resume: Boolean, go on from the newest checkpoint of `checkpoint_dir`, if
                there is one, up to `steps` in all. The agent takes over the seed.

        Returns:
            `keras.callbacks.History` with, per epoch: `return` and `episode_length`
            (means over the episodes that ended; NaN if none did), `episodes`,
            `env_steps`, `steps_per_second`, what `metric_names` lists,
            `explained_variance`, `learning_rate`, and with `validation_env`
            `val_return`, `val_return_std`, `val_episode_length`.

        Raises:
            ValueError: An argument is out of range or does not fit the agent.
            EnvironmentFailure: The environment raised.
            NonFiniteError: NaN or infinity appeared; the agent is the last good one.
            CheckpointError: A checkpoint could not be written, or is of another run.
        """
        check_positive_integer("steps", steps)
        check_positive_integer("epochs", epochs)
        checkpoint, found = checkpoint_of(
            callbacks, checkpoint_dir, checkpoint_every, resume
        )
        if found is not None and found.manifest["seed"] != self.seed:
            self.seed = found.manifest["seed"]  # a constant of what is compiled
            self._runtime.forget_loop()
        loop = self.prepare(env, num_envs)
        validation = None
        if validation_env is not None:
            validation = self._runtime.evaluator(
                self, validation_env, validation_episodes
            )
        try:
            return fit_loop(
                self,
                loop,
                steps,
                epochs,
                callbacks,
                validation,
                verbose,
                initial_epoch,
                checkpoint,
                found,
            )
        except BaseException as error:
            failed = isinstance(error, NonFiniteError | EnvironmentFailure)
            if failed or not loop.env.in_graph:  # or interrupted within a step
                self._runtime.forget_loop()
            raise

    def evaluate(self, env, episodes=10, greedy=True, seed=0, max_episode_steps=None):
        """Plays exactly `episodes` whole episodes, without learning.

        Every parallel copy plays a share fixed beforehand, so short episodes are not
        favoured; running statistics stay as they are.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            episodes: Integer.
            greedy: Boolean, the policy's mode (True) or samples (False).
            seed: Integer, of the episodes' starts and of sampling.
            max_episode_steps: Integer or None, a longer episode is an error.

        Returns:
            Dictionary of floats: `return`, `return_std`, `return_min`, `return_max`
            (undiscounted), `episode_length` (env steps), `episodes`.
        """
        evaluator = self._runtime.evaluator(self, env, episodes)
        return evaluator.run(self, greedy, seed, max_episode_steps)

    def prepare(self, env, num_envs=None):
        """The loop that `fit` runs on an environment, checked but not yet compiled.

        The same environment gives the same loop again; `loop.compile()` compiles it.
        """
        if num_envs is None and is_recipe(env):
            num_envs = self.num_envs
        return self._runtime.loop(self, env, num_envs)

    def loop(self, env):
        """A new training loop on an `envs.Environment`."""
        return self.loop_class(self, env, self.seed, self.xla)

    def environment(self, env, num_envs):
        """Makes `env` an `envs.Environment` and checks that it fits the agent."""
        env = envs.make(env, num_envs=num_envs)
        check_spaces(env, self.observation_spec, self.head)
        return env

    # Saving

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = {"name": self.name}
        for name in self.hyperparameters():
            if name != "learning_rate":  # part of the optimizer
                value = getattr(self, name)
                plain = isinstance(value, bool | int | float | str | None)
                config[name] = value if plain else serialize(value)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        deserialize = keras.saving.deserialize_keras_object
        config = {
            name: deserialize(value, custom_objects=custom_objects)
            if isinstance(value, dict) and "class_name" in value
            else value
            for name, value in config.items()
        }
        return cls(**config)

    def export(self, filepath):
        """Writes a SavedModel whose `serve` maps observations to greedy actions."""
        spec = self.observation_spec
        module = tf.Module()
        module.agent_variables = [variable.value for variable in self.variables]
        module.serve = tf.function(
            lambda observation: self.act(observation, training=False),
            input_signature=[tf.TensorSpec([None, *spec.shape], spec.dtype)],
            autograph=False,
        )
        tf.saved_model.save(module, str(filepath))

    def symbolic_outputs(self):
        """List of the network's symbolic outputs for a batch of observations."""
        spec = self.observation_spec
        outputs = self.network(keras.KerasTensor((None, *spec.shape), spec.dtype))
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

    def _check_network(self):
        shape = tuple(self.symbolic_outputs()[0].shape)
        if shape[1:] != (self.head.num_parameters,):
            raise ValueError(
                f"Expected a network whose first output is [B, "
                f"{self.head.num_parameters}], the parameters of "
                f"{type(self.head).__name__}. Received: {shape}"
            )
