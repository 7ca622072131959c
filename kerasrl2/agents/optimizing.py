"""Optimizers of agents: which ones can be used, and their learning rates."""

import collections
import inspect
import math
import numbers

import keras

from kerasrl2._checks import check_choice, check_range
from kerasrl2._private import given_rate, trained_by
from kerasrl2.schedules import Schedule, StartingAt

_RUN_OUT = 1e-4  # of the first value: nothing is learned at such a rate


def made_optimizer(optimizer, learning_rate, default, **options):
    """The optimizer of an agent's constructor.

    Args:
        optimizer: Keras optimizer, taken as it is; the name of one, made with that
            learning rate; or None.
        learning_rate: Number or Keras schedule over gradient steps.
        default: Class of Keras optimizers, made where `optimizer` is None.
        **options: What it is made with.

    Raises:
        ValueError: There is no optimizer of that name, or the rate is none.
    """
    rate = checked_rate(learning_rate)
    if optimizer is None:
        return default(rate, **options)
    if isinstance(optimizer, str):
        return named_optimizer(optimizer, learning_rate=rate)
    return optimizer


def optimizer_of(optimizer):
    """A Keras optimizer from what `compile` takes: one, its name or configuration.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(optimizer, str):
        return named_optimizer(optimizer)
    try:
        return keras.optimizers.get(optimizer)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a Keras optimizer, or the name of one. Received: "
            f"{optimizer!r:.100}. {str(error)[:100]}"
        ) from error


def named_optimizer(name, **options):
    """A Keras optimizer by its name, as `"adam"`, in small or capital letters."""
    known = {
        key.lower(): made
        for key, made in vars(keras.optimizers).items()
        if inspect.isclass(made) and issubclass(made, keras.optimizers.Optimizer)
    }
    for no_algorithm in ("optimizer", "lossscaleoptimizer"):
        known.pop(no_algorithm, None)
    check_choice("optimizer", name.lower(), sorted(known))
    return known[name.lower()](**options)


def checked_rate(rate):
    """A learning rate as Keras takes it: a float or a Keras schedule.

    Raises:
        ValueError: It is something else, or negative.
    """
    if isinstance(rate, Schedule):
        return rate
    check_range("learning_rate", rate, 0.0, math.inf, open_high=True)
    if isinstance(rate, numbers.Real):
        return float(rate)
    raise ValueError(
        f"Expected `learning_rate` as a number or a Keras schedule. Received: "
        f"{rate!r:.100}. Compiled programs would keep the first value of a function, "
        "and no file can hold it: derive a class from "
        "`keras.optimizers.schedules.LearningRateSchedule`."
    )


def check_optimizer(optimizer, variables=None):
    """Raises on what cannot take steps.

    Loss scaling is refused because clipping is unscaled.

    Args:
        optimizer: Keras optimizer.
        variables: List of Keras variables it is to move, or None.

    Raises:
        ValueError: It is none, scales losses, has a function as its learning rate, or
            was built for other variables.
    """
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
    rate = given_rate(optimizer)
    if isinstance(rate, Schedule) or callable(rate):
        checked_rate(rate)
    if variables is not None and missing_variables(optimizer, variables):
        known = trained_by(optimizer)
        raise ValueError(
            f"Expected an optimizer of the agent's own. Received: "
            f"{type(optimizer).__name__} {optimizer.name!r}, which was built for "
            f"{len(known)} weights, {known[0].path if known else 'none'!r} first, not "
            f"for {missing_variables(optimizer, variables)[0].path!r}. Make one for "
            "each agent; after other layers became trainable call `agent.compile` with "
            "a new one."
        )


def check_clipping(optimizer, max_gradient_norm):
    """Raises where each of several gradients that an optimizer adds up was clipped.

    Args:
        optimizer: Keras optimizer, maybe with `gradient_accumulation_steps`.
        max_gradient_norm: Number or None, to which the agent clips.
    """
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    if steps and max_gradient_norm is not None:
        raise ValueError(
            "Expected `max_gradient_norm=None` with an optimizer that accumulates: the "
            "norm to clip is that of the accumulated gradient. Received: "
            f"gradient_accumulation_steps={steps}. Take `accumulation_steps={steps}` "
            "of the agent with a larger batch, or `global_clipnorm` of the optimizer."
        )


def missing_variables(optimizer, variables):
    """Those of the variables that a built optimizer does not know, a list."""
    known = trained_by(optimizer) if optimizer.built else None
    if known is None:
        return []
    known = {id(variable) for variable in known}
    return [variable for variable in variables if id(variable) not in known]


def is_of_another(optimizer, variables):
    """Whether an optimizer was built for weights, but none of these."""
    known = trained_by(optimizer) if optimizer.built else None
    return bool(known) and len(missing_variables(optimizer, variables)) == len(
        variables
    )


def rate_of(optimizer):
    """The learning rate of an optimizer: a number, or its schedule."""
    given = given_rate(optimizer)
    if isinstance(given, Schedule):
        return given
    rate = optimizer.get_config()["learning_rate"]
    return (
        keras.saving.deserialize_keras_object(rate) if isinstance(rate, dict) else rate
    )


def with_rate(optimizer, rate, variables):
    """The optimizer with another learning rate, a number or a Keras schedule.

    The same object where numbers replace each other. Otherwise, since optimizers of
    Keras keep the kind of rate they were made with, a new one with the same moments. A
    schedule begins with the next step, however many there were.
    """
    if not isinstance(rate, Schedule) and not isinstance(rate_of(optimizer), Schedule):
        optimizer.learning_rate = rate
        return optimizer
    made = int(optimizer.iterations)
    if isinstance(rate, Schedule) and made:
        rate = StartingAt(rate, made)
    return renewed(optimizer, variables, learning_rate=rate)


def renewed(optimizer, variables, **changes):
    """A new optimizer for these variables, with the counts and moments of an old one.

    Args:
        optimizer: Keras optimizer.
        variables: List of Keras variables. Moments of those it did not know are those
            of a new optimizer.
        **changes: Entries of its configuration.
    """
    config = {**optimizer.get_config(), "learning_rate": rate_of(optimizer), **changes}
    changed = type(optimizer).from_config(config)
    changed.build(variables)
    moments = collections.defaultdict(collections.deque)  # names may come twice
    for variable in optimizer.variables:
        moments[variable.path.partition("/")[2]].append(variable)
    moments.pop("learning_rate", None)
    for variable in changed.variables:
        found = moments.get(variable.path.partition("/")[2])
        if found:
            variable.assign(found.popleft())
    return changed


def run_out(optimizer):
    """`(first, now)`, the rates of a schedule that has run out; else None."""
    schedule = rate_of(optimizer)
    if not isinstance(schedule, Schedule):
        return None
    first, now = float(schedule(0)), float(schedule(optimizer.iterations))
    return (first, now) if now <= _RUN_OUT * first else None
