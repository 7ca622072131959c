"""How agents learn: losses, guarded gradient steps and optimizers."""

import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2._control import run_if
from kerasrl2.agents.accumulation import accumulate
from kerasrl2.agents.checking_losses import check_dependence, checked_loss
from kerasrl2.agents.optimizing import (
    check_clipping,
    check_optimizer,
    checked_rate,
    is_of_another,
    missing_variables,
    optimizer_of,
    rate_of,
    renewed,
    with_rate,
)
from kerasrl2.agents.regularization import Regularization, has_losses
from kerasrl2.statistics import global_norm
from kerasrl2.training.metrics import (
    checked_metrics,
    checked_scalars,
    reported_metrics,
)
from kerasrl2.types import Gradients


class Learning:
    """Mixin: what an agent does with rollouts and batches.

    Attributes:
        whole_episodes: Boolean, whether a rollout of the on-policy loop is one complete
            episode of each environment.
        cuts_episodes: Boolean, whether such an episode may be cut after the rollout's
            last step; else it is an error.
        keeps_outputs: Boolean, whether a rollout keeps the parameters and values of the
            forward passes that chose its actions; None leaves it to the loop.
        accumulation_steps: Integer, in how many parts the gradients of a minibatch are
            computed.
        keeps_states: Boolean, whether a rollout keeps the policy's state before each
            step.
        can_remember: Boolean, whether the agent learns with a network that has a state.
        acts_at_random: Boolean, whether there is no greedy policy: evaluations draw
            actions, too.
    """

    whole_episodes = keeps_outputs = keeps_states = can_remember = False
    acts_at_random = False
    cuts_episodes = True
    accumulation_steps = 1

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
        """`types.Gradients` of `compute_loss`; writes no variables.

        By the variables of all `optimizers`, one optimizer's after another's. With
        `accumulation_steps` of as many parts of the batch, one after another, weighted
        by the rows that count.
        """
        variables = [v for _, moved in self.optimizers().values() for v in moved]
        owner = f"`compute_loss` of {type(self).__name__}"

        def of_rows(batch, seed):
            return differentiate(
                lambda: self.compute_loss(batch, seed), variables, self.layers, owner
            )

        if self.accumulation_steps == 1:
            return of_rows(batch, seed)
        return accumulate(
            of_rows,
            self.whole_batch(batch),
            lambda index: self.seed_of_part(seed, index),
            self.counting_rows,
            self.accumulation_steps,
        )

    def whole_batch(self, batch):
        """A batch after what needs all of its rows, before it is divided into parts."""
        return batch

    def counting_rows(self, batch):
        """Number of rows that a loss is the mean of: those that are `valid`, or all."""
        valid = getattr(batch, "valid", None)
        if valid is None:
            return tf.nest.flatten(batch)[0].shape[0]
        return tf.math.count_nonzero(valid)

    def seed_of_part(self, seed, index):
        """`[2]` int32, the seed of part `index` of a batch."""
        return tf.random.fold_in(seed, index, alg="philox")

    def apply_gradients(self, gradients):
        """Takes a gradient step with each optimizer, clipped by itself.

        If the gradients of one are NaN or infinite, none takes its step.

        Args:
            gradients: `types.Gradients`, from `compute_gradients`.

        Returns:
            `(metrics, td_error)`: dictionary of scalars, and None.
        """
        parts = parted(gradients, self.optimizers())
        for index, part in enumerate(parts.values() if len(parts) > 1 else ()):
            self.guard.report_step(part.loss, part.norm, index)  # before any step
        for name, part in parts.items():
            self.take_step(name, part)
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
        metrics, td_error = self.apply_gradients(self.compute_gradients(batch, seed))
        if type(self).update is Learning.update:  # else more metrics may come
            checked_metrics(metrics, self)
        checked_scalars(metrics, type(self).__name__)
        return metrics, td_error

    def gradient_step(self, name, loss_function):
        """One guarded gradient step of one of several optimizers.

        A step with a NaN or infinite loss or gradient is not taken, nor is any after
        it; the guard reports it, and the loop stops the run.

        Args:
            name: String, a key of `optimizers`. Its variables receive the gradients.
            loss_function: Callable without arguments that returns `(loss, metrics)`.
                What the layers of these variables add to the loss, by regularizers and
                `add_loss`, becomes the metric `regularization`.

        Returns:
            The `types.Gradients` of the step.
        """
        check_choice("name", name, list(self.optimizers()))
        if self.accumulation_steps > 1:
            raise ValueError(
                "Expected `accumulation_steps=1` with `gradient_step`, whose loss "
                "function has no batch to divide. Received: "
                f"{self.accumulation_steps}. `agents.accumulation.accumulate` divides "
                "one."
            )
        owner = f"the loss function of the optimizer {name!r} of {type(self).__name__}"
        variables = self.optimizers()[name][1]
        gradients = differentiate(loss_function, variables, self.layers, owner)
        self.take_step(name, gradients)
        return gradients

    def take_step(self, name, gradients):
        """Clips `types.Gradients` and applies them with the optimizer of this name.

        Not if their norm or loss is NaN or infinite, or anything was before.
        """
        optimizers = self.optimizers()
        check_choice("name", name, list(optimizers))
        check_optimizer(*optimizers[name])
        optimizer, variables = optimizers[name]
        check_clipping(optimizer, self.max_gradient_norm)
        loss, norm, values, _ = gradients
        self.guard.report_step(loss, norm, list(optimizers).index(name))

        def step(healthy, norm, limit, values):
            def apply(scale):
                scaled = [value * tf.cast(scale, value.dtype) for value in values]
                optimizer.apply(scaled, variables)

            scale = tf.minimum(tf.ones_like(norm), limit / (norm + 1e-6))
            run_if(healthy, apply, scale)

        if self.xla is not False and tf.inside_function():
            # Op by op an optimizer is slow, whatever compiles the rest of an update.
            step = tf.function(step, jit_compile=True, autograph=False)
        limit = self.max_gradient_norm
        limit = norm.dtype.max if limit is None else limit
        step(self.guard.is_healthy(), norm, tf.cast(limit, norm.dtype), values)

    def learn_from(self, batch, seed):
        """Learns from a rollout; by default makes one update.

        Args:
            batch: The batch that `prepare` made from the rollout.
            seed: `[2]` int32.

        Returns:
            `(sums, updates)`: dictionary of metrics summed over updates, and the number
            of updates.
        """
        metrics, _ = self.update(batch, seed)
        return reported_metrics(metrics, self), tf.constant(1.0)

    def stored(self, rollout):
        """The `Rollout` as a replay buffer stores it."""
        return rollout

    @property
    def stored_action(self):
        """`tf.TensorSpec` of an action as a replay buffer stores it, or a nest."""
        return tf.TensorSpec(self.head.action_shape, self.head.action_dtype)

    def sampling(self):
        """Keywords of a replay buffer's `sample`: the agent's `gamma`."""
        return {"gamma": self.gamma}

    def replayed(self, seed):
        """`(index, batch)` drawn from the replay buffer, for `update`."""
        return self.buffer.sample(self.batch_size, seed, **self.sampling())

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
            seen = self.observation_spec.select(observation)
            self.observation_normalizer.update(seen, valid)

    @property
    def report_names(self):
        """Names of the metrics in a report.

        `metric_names`, and `regularization` where a network has losses of its own.
        """
        pairs = self.optimizers().values()
        regularized = any(has_losses(self.layers, variables) for _, variables in pairs)
        more = ("regularization",) if regularized else ()
        return tuple(dict.fromkeys((*self.metric_names, *more)))

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
        """Number or Keras schedule over gradient steps; may be assigned.

        A schedule begins with the next gradient step, however many there were.
        """
        return rate_of(self.optimizer)

    @learning_rate.setter
    def learning_rate(self, rate):
        changed = with_rate(self.optimizer, checked_rate(rate), self._only_variables())
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
        optimizer = optimizer_of(optimizer)
        variables = self._only_variables() if self.built else None  # else `ready` does
        check_optimizer(optimizer, variables)
        super().compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)
        if self.built:
            optimizer.build(variables)

    def _only_variables(self):
        """What the optimizer of an agent with one moves."""
        known = self.optimizers()
        if list(known) != ["optimizer"]:
            raise ValueError(
                f"Expected an agent with one optimizer. Received: "
                f"{type(self).__name__} with {', '.join(known)}. Change each of them: "
                "assign another one, or its `learning_rate`."
            )
        return known["optimizer"][1]

    def renew_optimizers(self):
        """Takes in layers that became trainable after the agent was made.

        The optimizer becomes a new one with the moments of the old.

        Raises:
            ValueError: The agent has several optimizers, or one was built for another.
        """
        for name, (optimizer, variables) in self.optimizers().items():
            missing = missing_variables(optimizer, variables)
            if not missing:
                continue
            if name != "optimizer" or is_of_another(optimizer, variables):
                check_optimizer(optimizer, variables)
            self.compile(renewed(optimizer, variables))

    def compile_from_config(self, config):
        """Does nothing: the optimizer is a constructor argument."""

    def get_compile_config(self):
        return None


def differentiate(loss_function, variables, layers, owner):
    """`Gradients` of a function that returns `(loss, metrics)`; writes nothing.

    Losses that the layers have of their own, regularizers and `add_loss`, are added to
    the loss; their sum is the metric `regularization`.

    Args:
        loss_function: Callable without arguments.
        variables: List of Keras variables.
        layers: Sequence of the Keras layers and models that these variables are of.
        owner: String, whose function it is, for messages.

    Raises:
        ValueError: The function returned something else, or a loss that depends on none
            of the variables.
    """
    values = [variable.value for variable in variables]
    own = Regularization(layers, variables)
    with tf.GradientTape() as tape:
        loss, metrics = own.added_to(*checked_loss(loss_function(), owner))
    gradients = tape.gradient(loss, values)
    check_dependence(gradients, variables, owner)
    gradients = [
        tf.zeros_like(value) if gradient is None else gradient
        for gradient, value in zip(gradients, values, strict=True)
    ]
    return Gradients(loss, global_norm(gradients), gradients, metrics)


def parted(gradients, optimizers):
    """`Gradients` of each of several optimizers, by name.

    Args:
        gradients: `Gradients` by the variables of all, one's after another's.
        optimizers: Dictionary of names to pairs of an optimizer and its variables.
    """
    if len(optimizers) == 1:
        return dict.fromkeys(optimizers, gradients)
    parts, begin = {}, 0
    for name, (_, variables) in optimizers.items():
        values = gradients.values[begin : begin + len(variables)]
        begin += len(variables)
        parts[name] = gradients._replace(norm=global_norm(values), values=values)
    return parts
