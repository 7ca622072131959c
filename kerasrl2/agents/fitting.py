"""Fits and evaluates agents on environments."""

import warnings

import keras

from kerasrl2 import envs
from kerasrl2._checks import check_positive_integer
from kerasrl2._words import with_our_words
from kerasrl2.agents.checking import check_learnable
from kerasrl2.agents.directions import directions
from kerasrl2.agents.optimizing import rate_of, run_out
from kerasrl2.agents.specs import check_spaces
from kerasrl2.distributed.environments import RemoteEnvironments
from kerasrl2.distributed.learners import learner_of
from kerasrl2.distributed.workers import workers_of
from kerasrl2.envs._interface import Preferred
from kerasrl2.envs.registry import is_recipe
from kerasrl2.errors import EnvironmentFailure, NonFiniteError
from kerasrl2.training.fit import fit_loop
from kerasrl2.training.resume import checkpoint_of


class Fitting:
    """Mixin with `fit` and `evaluate`, and the loops that they run."""

    @with_our_words
    def fit(
        self,
        env,
        steps,
        epochs=None,
        callbacks=None,
        validation_env=None,
        validation_episodes=10,
        verbose="auto",
        num_envs=None,
        initial_epoch=0,
        checkpoint_dir=None,
        checkpoint_every=None,
        resume=False,
        info_keys=(),
        learning_rate=None,
        workers=None,
    ):
        """Trains for `steps` env steps and reports once per epoch.

        A second call with the same environment continues where the first one stopped.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            steps: Integer, env steps to play; rounded up to whole rollouts.
            epochs: Integer, number of reports, evaluations and callbacks; None: 10, or
                the number of iterations of the loop if that is smaller.
            callbacks: `keras.callbacks.Callback`, or a list of them.
            validation_env: As `env`, for a greedy evaluation at the end of each epoch.
            validation_episodes: Integer, episodes per evaluation.
            verbose: 0 silent, 1 live progress bar, 2 one line per epoch, `"auto"`: 1
                on a terminal, else 2.
            num_envs: Integer, copies of an `env` given by id or callable; None takes
                the agent's `num_envs`.
            initial_epoch: Integer, the number of the first epoch.
            checkpoint_dir: String or path, where `callbacks.TrainingCheckpoint` keeps
                checkpoints of the run; pass the callback itself to set its options.
            checkpoint_every: Integer, env steps between them; None: once per epoch.
            resume: Boolean, continue from the newest checkpoint of `checkpoint_dir`, if
                there is one, up to `steps` in total. The agent takes over its seed.
            info_keys: Sequence of strings, numeric entries of the `info` of Gymnasium
                environments, such as `("is_success",)`. Their means over the finished
                episodes are reported; each episode counts with its last step's value.
            learning_rate: Number or Keras schedule over the gradient steps from here
                on, which replaces the agent's; None keeps that. A loaded agent's may
                have run out.
            workers: Integer, processes that play for this one, each with environments
                of its own, over Ray; or `distributed.Workers`, for a cluster and
                more. None: this process plays itself.

        Returns:
            `keras.callbacks.History` with, per epoch: `return` and `episode_length`
            (means over the episodes that ended; NaN if none did), `episodes`,
            `env_steps`, `steps_per_second`, the metrics of `metric_names`,
            `explained_variance`, `learning_rate`; with `workers` `updates_per_second`,
            `lag` (of the weights that were played with, in versions sent since) and
            `learner_waits` (share of the time); and with `validation_env`
            `val_return`, `val_return_std`, `val_episode_length`; each of `info_keys`,
            with `val_` also of the evaluation, and `val_success_rate` if `is_success`
            is among them.

        Raises:
            ValueError: An argument is out of range or does not fit the agent.
            EnvironmentFailure: The environment raised.
            NonFiniteError: NaN or infinity appeared; nothing was learned from it.
            CheckpointError: A checkpoint could not be written, or is of another run.
        """
        check_positive_integer("steps", steps)
        if epochs is not None:
            check_positive_integer("epochs", epochs)
        callbacks = _listed(callbacks)
        checkpoint, restored = checkpoint_of(
            callbacks, checkpoint_dir, checkpoint_every, resume
        )
        if learning_rate is not None and restored is not None:
            raise ValueError(
                "Expected no `learning_rate` with a checkpoint to go on from, "
                f"{restored.path}: a resumed run goes on as it began. Received: "
                f"learning_rate={learning_rate!r:.60}. Leave it out."
            )
        check_learnable(self)
        before = _Before(self)
        loop = None
        try:
            self.renew_optimizers()
            if learning_rate is not None:
                self.learning_rate = learning_rate
            elif restored is None:
                self._warn_of_rates()
            if restored is not None:
                self.seed = restored.manifest["seed"]
            loop = self.loop_on(env, num_envs, workers)
            validation = None
            if validation_env is not None:
                validation = self._runtime.evaluator(
                    self, validation_env, validation_episodes
                )
                _check_apart(loop.env, validation.env)
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
                restored,
                info_keys,
            )
        except BaseException as error:
            failed = isinstance(error, NonFiniteError | EnvironmentFailure)
            # Or interrupted within a step. Workers end in any case.
            ends = failed or workers is not None
            if loop is not None and (ends or not loop.env.in_graph):
                self._runtime.forget_loop()
            before.restore_if_untrained(self)
            raise

    @with_our_words
    def evaluate(
        self,
        env,
        episodes=10,
        greedy=True,
        seed=0,
        max_episode_steps="auto",
        info_keys=(),
    ):
        """Plays exactly `episodes` whole episodes, without learning.

        The number of episodes of each parallel copy is fixed beforehand, so that short
        ones are not favoured. Running statistics are not updated.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            episodes: Integer.
            greedy: Boolean, the policy's mode (True) or samples (False).
            seed: Integer, of first states and of sampling.
            max_episode_steps: Integer, longer episodes raise `ValueError`; `"auto"`:
                100 000 steps, or the environment's own time limit if that is longer;
                None: no limit. A line on standard error tells when no episode has ended
                for long.
            info_keys: Sequence of strings, numeric entries of `info`, such as
                `("is_success",)`; each episode counts with its last step's value.

        Returns:
            Dictionary of floats: `return`, `return_std`, `return_min`, `return_max`
            (undiscounted), `episode_length` (env steps), `episodes`; means of
            `info_keys`, of `is_success` also as `success_rate`.

        Raises:
            ValueError: An argument does not fit, or an episode is too long.
            EnvironmentFailure: The environment raised, or has no such `info`.
        """
        evaluator = self._runtime.evaluator(self, env, episodes)
        return evaluator.run(self, greedy, seed, max_episode_steps, info_keys)

    @property
    def metrics(self):
        """Keras' metrics and, for callbacks that monitor a log, which way it is better.

        So `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau` need no `mode` for
        returns, rates of success and losses.
        """
        return [*super().metrics, *directions(self.report_names)]

    def _warn_of_rates(self):
        """Warns, once for each optimizer, where a schedule has run out."""
        for name, (optimizer, _) in self.optimizers().items():
            rates = run_out(optimizer)
            if rates is None or not self._runtime.is_news(optimizer):
                continue
            which = "" if name == "optimizer" else f" of {name!r}"
            warnings.warn(
                f"The learning rate{which} of this {type(self).__name__} is "
                f"{rates[1]:.3g} after {int(optimizer.iterations):,} gradient steps: "
                f"its schedule, which began at {rates[0]:.3g}, has run out, and "
                "nothing more will be learned. Set another one: `fit(..., "
                "learning_rate=...)`, or assign `agent.learning_rate`.",
                stacklevel=3,
            )

    def loop_on(self, env, num_envs=None, workers=None):
        """The loop of `fit` for an environment, checked but not yet compiled.

        Returns the same loop for the same environment; `loop.compile()` compiles it.
        """
        if num_envs is None and is_recipe(env):
            num_envs = self.num_envs
        return self._runtime.loop(self, env, num_envs, workers_of(workers))

    def loop(self, env):
        """A new training loop on an `envs.Environment`."""
        if isinstance(env, RemoteEnvironments):
            learner = learner_of(self, env.workers)
            return learner(self, env, self.seed, self.xla)
        return self.loop_class(self, env, self.seed, self.xla)

    def training_environment(self, env, num_envs):
        """The environment that the loop plays: `environment`, unless overridden."""
        return self.environment(env, num_envs)

    def multiplied(self, env, make):
        """What to train on: as many environments as the agent needs, here one.

        Args:
            env: `envs.Environment`.
            make: Callable that returns another such one.
        """
        del make
        return env

    def environment(self, env, num_envs):
        """Makes `env` an `envs.Environment` and checks that it fits the agent.

        Of a callable that returns a `VectorEnv`, the number that this one has counts.
        """
        if num_envs is not None:
            check_positive_integer("num_envs", num_envs)
            num_envs = Preferred(num_envs)
        made = envs.make(env, num_envs=num_envs)
        try:
            check_spaces(made, self.observation_spec, self.head)
        except BaseException:
            if is_recipe(env):
                made.close()
            raise
        return made

    def close(self):
        """Closes the environments made here from ids and callables.

        Those given as objects stay open. The agent can go on: `fit` and `evaluate` make
        what they need anew. `with agent:` closes at its end, and so does the end of the
        agent itself.
        """
        self._runtime.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _check_apart(env, validation_env):
    if env.shares_copies_with(validation_env):
        raise RuntimeError(
            "Expected another environment as `validation_env`. Received: the one that "
            f"is trained on, {env.id!r}; its episodes would be cut short. Give "
            "training and evaluation an environment each, by its id or by a callable."
        )


class _Before:
    """What `fit` sets before it trains, for a call that comes to nothing."""

    def __init__(self, agent):
        self._env_steps, self._seed = int(agent.env_steps), agent.seed
        self._optimizer = agent.optimizer
        self._rate = None if agent.optimizer is None else rate_of(agent.optimizer)

    def restore_if_untrained(self, agent):
        """Sets it back, unless something was played since."""
        if int(agent.env_steps) != self._env_steps:
            return
        if agent.seed != self._seed:
            agent.seed = self._seed
        if agent.optimizer is not self._optimizer:
            agent.compile(self._optimizer)
        elif isinstance(self._rate, float) and rate_of(agent.optimizer) != self._rate:
            agent.optimizer.learning_rate = self._rate


def _listed(callbacks):
    """Callbacks as a list; one alone may be given without."""
    if callbacks is None or isinstance(callbacks, keras.callbacks.Callback):
        return None if callbacks is None else [callbacks]
    listed = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
    for callback in listed:
        if not isinstance(callback, keras.callbacks.Callback):
            made = (isinstance(callback, type) and "; make one: add `()`") or ""
            raise ValueError(
                f"Expected `callbacks` as a list of `keras.callbacks.Callback`. "
                f"Received: {callback!r:.100}{made}."
            )
    return listed
