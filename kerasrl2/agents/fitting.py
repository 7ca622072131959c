"""Fits and evaluates agents on environments."""

from kerasrl2 import envs
from kerasrl2._checks import check_positive_integer
from kerasrl2.agents.runtime import is_recipe
from kerasrl2.agents.specs import check_spaces
from kerasrl2.errors import EnvironmentFailure, NonFiniteError
from kerasrl2.training.fit import fit_loop
from kerasrl2.training.resume import checkpoint_of


class Fitting:
    """Mixin with `fit` and `evaluate`, and the loops that they run."""

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
        """Trains for `steps` env steps and reports once per epoch.

        A second call with the same environment continues where the first one stopped.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            steps: Integer, env steps to play; rounded up to whole rollouts.
            epochs: Integer, number of reports, evaluations and callbacks.
            callbacks: List of `keras.callbacks.Callback`.
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

        Returns:
            `keras.callbacks.History` with, per epoch: `return` and `episode_length`
            (means over the episodes that ended; NaN if none did), `episodes`,
            `env_steps`, `steps_per_second`, the metrics of `metric_names`,
            `explained_variance`, `learning_rate`, and with `validation_env`
            `val_return`, `val_return_std`, `val_episode_length`.

        Raises:
            ValueError: An argument is out of range or does not fit the agent.
            EnvironmentFailure: The environment raised.
            NonFiniteError: NaN or infinity appeared; nothing was learned from it.
            CheckpointError: A checkpoint could not be written, or is of another run.
        """
        check_positive_integer("steps", steps)
        check_positive_integer("epochs", epochs)
        checkpoint, restored = checkpoint_of(
            callbacks, checkpoint_dir, checkpoint_every, resume
        )
        if restored is not None:
            self.seed = restored.manifest["seed"]
        loop = self.loop_on(env, num_envs)
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
                restored,
            )
        except BaseException as error:
            failed = isinstance(error, NonFiniteError | EnvironmentFailure)
            if failed or not loop.env.in_graph:  # or interrupted within a step
                self._runtime.forget_loop()
            raise

    def evaluate(self, env, episodes=10, greedy=True, seed=0, max_episode_steps=None):
        """Plays exactly `episodes` whole episodes, without learning.

        The number of episodes of each parallel copy is fixed beforehand, so that short
        ones are not favoured. Running statistics are not updated.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            episodes: Integer.
            greedy: Boolean, the policy's mode (True) or samples (False).
            seed: Integer, of first states and of sampling.
            max_episode_steps: Integer or None; longer episodes raise `ValueError`.

        Returns:
            Dictionary of floats: `return`, `return_std`, `return_min`, `return_max`
            (undiscounted), `episode_length` (env steps), `episodes`.
        """
        evaluator = self._runtime.evaluator(self, env, episodes)
        return evaluator.run(self, greedy, seed, max_episode_steps)

    def loop_on(self, env, num_envs=None):
        """The loop of `fit` for an environment, checked but not yet compiled.

        Returns the same loop for the same environment; `loop.compile()` compiles it.
        """
        if num_envs is None and is_recipe(env):
            num_envs = self.num_envs
        return self._runtime.loop(self, env, num_envs)

    def loop(self, env):
        """A new training loop on an `envs.Environment`."""
        return self.loop_class(self, env, self.seed, self.xla)

    def environment(self, env, num_envs):
        """Turns `env` into an `envs.Environment` and checks that it fits the agent."""
        env = envs.make(env, num_envs=num_envs)
        check_spaces(env, self.observation_spec, self.head)
        return env
