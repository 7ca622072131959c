"""How agents learn: losses, guarded gradient steps and optimizers."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_range
from kerasrl2._control import run_if
from kerasrl2.schedules import Schedule
from kerasrl2.statistics import global_norm
from kerasrl2.training.minibatches import named_sums
from kerasrl2.types import Gradients


class Learning:
    """Mixin: what an agent does with rollouts and batches.

    Attributes:
        whole_episodes: Boolean, whether a rollout of the on-policy loop is one complete
            episode of each environment.
        keeps_outputs: Boolean, whether a rollout keeps the parameters and values of the
            forward passes that chose its actions; None leaves it to the loop.
    """

    whole_episodes = keeps_outputs = False

    def optimizers(self):
        """Dictionary of names to pairs of an optimizer and the variables it updates.

        An agent with several optimizers overrides it; all of them are then built,
        saved, logged and stored in checkpoints.
        """
        return {"optimizer": (self.optimizer, self.trainable_variables)}

    def compute_loss(self, batch, seed):
        """`(loss, metrics)` of a batch: a scalar and a dictionary of scalars.

        Args:
            batch: The data to learn from.
            seed: `[2]` int32, for random numbers in the loss.
        """
        raise TypeError(f"{type(self).__name__} does not define `compute_loss`.")

    def compute_gradients(self, batch, seed):
        """`types.Gradients` of `compute_loss`; writes no variables."""
        variables = next(iter(self.optimizers().values()))[1]
        return differentiate(lambda: self.compute_loss(batch, seed), variables)

    def apply_gradients(self, gradients):
        """Takes one gradient step; returns `(metrics, td_error or None)`."""
        name = next(iter(self.optimizers()))
        self.take_step(name, gradients)
        own = {"loss": gradients.loss, "gradient_norm": gradients.norm}
        return {**gradients.metrics, **own}, None

    def update(self, batch, seed):
        """One update, in a graph: `compute_gradients`, then `apply_gradients`.

        Args:
            batch: The data to learn from.
            seed: `[2]` int32.

        Returns:
            `(metrics, td_error)`: a dictionary of the scalars in `metric_names`, and
            `[B]` float32, the new priorities of replayed transitions, or None.
        """
        return self.apply_gradients(self.compute_gradients(batch, seed))

    def gradient_step(self, name, loss_function):
        """One guarded gradient step of one of several optimizers.

        A step with a NaN or infinite loss or gradient is not taken, nor is any after
        it; the guard reports it, and the loop stops the run.

        Args:
            name: String, a key of `optimizers`. Its variables receive the gradients.
            loss_function: Callable without arguments that returns `(loss, metrics)`.

        Returns:
            The `types.Gradients` of the step.
        """
        check_choice("name", name, list(self.optimizers()))
        gradients = differentiate(loss_function, self.optimizers()[name][1])
        self.take_step(name, gradients)
        return gradients

    def take_step(self, name, gradients):
        """Clips gradients and applies them, if they and all before were finite.

        XLA compiles the step, also where it compiles nothing else: op by op an
        optimizer is slow.

        Args:
            name: String, of `optimizers`.
            gradients: `types.Gradients` of its variables.
        """
        known = self.optimizers()
        check_choice("name", name, list(known))
        self.guard.report_step(gradients.loss, gradients.norm, list(known).index(name))
        optimizer, variables = known[name]

        def step(healthy, norm, limit, values):
            def apply(scale):
                optimizer.apply([value * scale for value in values], variables)

            scale = tf.minimum(tf.ones_like(norm), limit / (norm + 1e-6))
            run_if(healthy, apply, scale)

        norm, limit = gradients.norm, self.max_gradient_norm
        limit = tf.cast(norm.dtype.max if limit is None else limit, norm.dtype)
        if self.xla is not False and tf.inside_function():
            step = tf.function(step, jit_compile=True, autograph=False)
        step(self.guard.is_healthy(), norm, limit, gradients.values)

    def learn(self, batch, seed):
        """Learns from a rollout; by default makes one update.

        Args:
            batch: The batch that `prepare` made from the rollout.
            seed: `[2]` int32.

        Returns:
            `(sums, updates)`: dictionary of metrics summed over updates, and the number
            of updates.
        """
        metrics, _ = self.update(batch, seed)
        self.guard.report_metrics(metrics)
        return named_sums(metrics, self), tf.constant(1.0)

    def stored(self, rollout):
        """The `Rollout` as a replay buffer stores it."""
        return rollout

    def sampling(self):
        """Keywords of a replay buffer's `sample`: the agent's `gamma`."""
        return {"gamma": self.gamma}

    def initial_learner_state(self, num_envs):
        """The state of `prepare` at the start of episodes, a nest of `[N, ...]`."""
        del num_envs
        return ()

    def update_statistics(self, observation, valid):
        """Updates running statistics with observations.

        Args:
            observation: `[T, N, ...]`.
            valid: `[T, N]` bool, False for rows to leave out.
        """
        if self.observation_normalizer is not None:
            self.observation_normalizer.update(observation, valid)

    @property
    def report_names(self):
        """Names of the metrics in a report."""
        return self.metric_names

    def progress_logs(self):
        """Dictionary of further floats for the logs at the end of an epoch."""
        rates = {
            name: pair[0].learning_rate for name, pair in self.optimizers().items()
        }
        if len(rates) == 1:
            return {"learning_rate": float(next(iter(rates.values())))}
        return {f"{name}_learning_rate": float(rate) for name, rate in rates.items()}

    # Agents with a single optimizer

    @property
    def learning_rate(self):
        """Number or Keras schedule over gradient steps; may be assigned."""
        return rate_of(self.optimizer)

    @learning_rate.setter
    def learning_rate(self, rate):
        check_range("learning_rate", rate, 0.0)
        changed = with_rate(self.optimizer, rate, self.optimizers()["optimizer"][1])
        if changed is not self.optimizer:
            self.compile(changed)

    def compile(self, optimizer, **kwargs):
        """Sets the optimizer of an agent with a single one.

        Args:
            optimizer: Keras optimizer.
            **kwargs: Must be empty: the agent has its own loss and metrics.
        """
        if kwargs:
            raise ValueError(
                f"Expected `compile(optimizer)` alone: {type(self).__name__} has "
                f"its own loss and metrics. Received: {', '.join(sorted(kwargs))}. "
                "Override `compute_loss` for another loss."
            )
        optimizer = keras.optimizers.get(optimizer)
        check_optimizer(optimizer)
        super().compile(optimizer=optimizer, jit_compile=False)
        if self.built:  # else `ready` builds it
            optimizer.build(self.optimizers()["optimizer"][1])

    def compile_from_config(self, config):
        """Does nothing: the optimizer is a constructor argument."""

    def get_compile_config(self):
        return None


def differentiate(loss_function, variables):
    """`Gradients` of a function that returns `(loss, metrics)`.

    Args:
        loss_function: Callable without arguments.
        variables: List of Keras variables.
    """
    values = [variable.value for variable in variables]
    with tf.GradientTape() as tape:
        loss, metrics = loss_function()
    gradients = tape.gradient(loss, values, unconnected_gradients="zero")
    return Gradients(loss, global_norm(gradients), gradients, metrics)


def check_optimizer(optimizer):
    """Raises unless it is an optimizer of Keras without loss scaling."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"Expected a Keras optimizer. Received: {optimizer!r:.100}, a "
            f"{type(optimizer).__name__}"
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "Expected an optimizer without loss scaling: gradients are clipped before "
            "it. Received: LossScaleOptimizer. Use the 'mixed_bfloat16' policy instead."
        )


def rate_of(optimizer):
    """The learning rate of an optimizer, a number or a schedule."""
    rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):
        return keras.saving.deserialize_keras_object(rate)
    return rate


def with_rate(optimizer, rate, variables):
    """The optimizer with another learning rate, a number or a Keras schedule.

    The same object if a number replaces a number. Otherwise a new one with the same
    moments, since Keras optimizers cannot switch between numbers and schedules.
    """
    has_schedule = isinstance(optimizer.get_config()["learning_rate"], dict)
    if not has_schedule and not isinstance(rate, Schedule):
        optimizer.learning_rate = rate
        return optimizer
    config = {**optimizer.get_config(), "learning_rate": rate}
    changed = type(optimizer).from_config(config)
    changed.build(variables)
    moments = {v.path.partition("/")[2]: v for v in optimizer.variables}
    for variable in changed.variables:
        name = variable.path.partition("/")[2]
        if name in moments and name != "learning_rate":
            variable.assign(moments[name])
    return changed
