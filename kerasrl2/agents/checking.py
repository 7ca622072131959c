"""Checks of networks and losses: that an agent can use them and learn from them."""

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._private import is_used, layers_of, producer_of
from kerasrl2.agents.remembering import checked_step, has_state, symbolic_state
from kerasrl2.layers.specs import ACTION_MASK, entries_of


def usable_network(network, observation_spec, name="network"):
    """The network of an agent's constructor, built.

    Args:
        network: Keras model; one without weights yet is built for the observations.
        observation_spec: `ObservationSpec` or None.
        name: String, of the argument.

    Raises:
        ValueError: It is no Keras 3 model, or is not built and nothing says for what.
    """
    if not isinstance(network, keras.Model):
        module = type(network).__module__.partition(".")[0]
        hint = "Derive it from `keras.Model`, or wrap it in one."
        if module in ("tf_keras", "tensorflow"):
            hint = "It is of Keras 2 (`tf_keras`): make it with `import keras`."
        raise ValueError(
            f"Expected `{name}` as a Keras 3 model. Received: a "
            f"{type(network).__name__} of {module!r}. {hint}"
        )
    if network.built:
        return network
    if observation_spec is None:
        raise ValueError(
            f"Expected `{name}` as a built Keras model. Received: {_shown(network)}, "
            "which has no weights yet. Begin it with `keras.Input`, call it once, or "
            "give `observation_spec`, as `for_env` does."
        )
    outputs_of(network, observation_spec)
    return network


def outputs_of(network, observation_spec, *more):
    """List of a network's symbolic outputs for a batch of observations.

    Args:
        network: Keras model.
        observation_spec: `ObservationSpec`.
        *more: Further symbolic inputs.

    Raises:
        ValueError: It takes no such observations, or returns a dictionary.
    """
    seen = observation_spec.for_network
    observation = tf.nest.map_structure(
        lambda spec: keras.KerasTensor((None, *spec.shape), spec.dtype), seen.nest
    )
    inputs = [observation, *more] if more else observation
    takes = getattr(network, "inputs", None)
    remembers = has_state(network)
    try:
        if remembers:
            outputs = checked_step(network, inputs, symbolic_state(network))
        else:
            if isinstance(takes, list):
                _check_inputs(network, observation, more)
            outputs = network(inputs)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        received = _shown(network)
        if isinstance(takes, list):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in takes)
            received += f", which takes {len(takes)} input(s) of shape {shapes}"
        raise ValueError(
            f"Expected a network that takes one batch of observations, "
            f"{_described(seen)}{', and fractions' if more else ''}"
            f"{', and a state' if remembers else ''}. Received: {received}: {reason}"
        ) from error
    if isinstance(outputs, dict):
        raise ValueError(
            f"Expected a network with one output or a list of them. Received: "
            f"{_shown(network)} with a dictionary of {', '.join(map(repr, outputs))}. "
            "Wrap it: keras.Model(inputs, [outputs[name] for name in ...])."
        )
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def q_outputs_of(network, spec, action_values):
    """As `outputs_of`; of a network of implicit quantiles fractions go in as well."""
    if not action_values.takes_fractions:
        return outputs_of(network, spec)
    return outputs_of(network, spec, keras.KerasTensor((None, None), "float32"))


def check_logits(network, observation_spec, what):
    """Raises where the first output of a network has passed a softmax.

    Args:
        network: Keras model with one input.
        observation_spec: `ObservationSpec`.
        what: String, what is asked for, such as `"logits"`.
    """
    outputs = getattr(network, "outputs", None)
    if isinstance(outputs, list):
        layer = _softmax_before(outputs[0])
        where = None if layer is None else f"the softmax of the layer {layer.name!r}"
    else:
        rng = np.random.default_rng(0)
        rows = tf.nest.map_structure(
            lambda spec: rng.uniform(-1.0, 1.0, [2, *spec.shape]).astype(spec.dtype),
            observation_spec.for_network.nest,
        )
        state = (network.initial_state(2),) if has_state(network) else ()
        output = network(rows, *state, training=False)
        first = output[0] if isinstance(output, list | tuple) else output
        first = keras.ops.convert_to_numpy(keras.ops.cast(first, "float32"))
        sums_to_one = np.allclose(first.sum(axis=-1), 1.0, atol=1e-5)
        # Not one action alone, whose value may be one.
        softmax = sums_to_one and first.min() >= 0.0 and first.shape[-1] > 1
        where = "outputs that sum to one" if softmax else None
    if where is not None:
        raise ValueError(
            f"Expected a network whose output is {what}. Received: {_shown(network)} "
            f"with {where}: the softmax is the agent's. Leave it out."
        )


def check_masks(agent):
    """Raises where observations have an `action_mask` that the agent cannot obey.

    Args:
        agent: `Agent`.
    """
    spec, head, name = agent.observation_spec, agent.head, type(agent).__name__
    if not spec.has_mask:
        return
    if head.kind not in ("categorical", "multi_categorical"):
        raise ValueError(
            f"Expected an `action_mask` with Discrete or MultiDiscrete actions alone. "
            f"Received: one with {type(head).__name__} actions. Give the entry another "
            "name, if it is an observation like others, or leave it out."
        )
    mask = spec.entries[ACTION_MASK]
    if getattr(mask, "shape", None) != (head.num_parameters,):
        raise ValueError(
            f"Expected an `action_mask` of shape ({head.num_parameters},), one number "
            f"for each action. Received: {mask}"
        )
    owner = next(c for c in type(agent).__mro__ if "forward" in vars(c))
    code = getattr(vars(owner)["forward"], "__code__", None)
    masking = {"masked", "outputs_from", "super"}
    if code is not None and not masking & {*code.co_names}:
        raise ValueError(
            f"Expected `forward` of {owner.__name__} to leave out illegal actions: the "
            f"observations have an `action_mask`. Received: one without "
            "`self.masked(parameters, observation)`. Put it around the parameters that "
            f"{name} returns."
        )


def check_precision(agent):
    """Raises on float16: without loss scaling its gradients vanish.

    Args:
        agent: `Agent`.
    """
    parts = *layers_of(agent.network), *layers_of(agent)
    for layer in sorted(parts, key=lambda layer: isinstance(layer, keras.Model)):
        policy = layer.dtype_policy
        if "float16" not in (policy.compute_dtype, policy.variable_dtype):
            continue
        raise ValueError(
            f"Expected layers that compute in float32, float64 or bfloat16: gradients "
            f"in float16 vanish without loss scaling. Received: {layer.name!r} of the "
            f"dtype policy {policy.name!r}. Use 'mixed_bfloat16', or float32."
        )


def check_learnable(agent):
    """Raises where nothing could be learned: NaN weights, or none to train.

    Args:
        agent: `Agent`.
    """
    for name, (_, variables) in agent.optimizers().items():
        if not variables:
            which = "" if name == "optimizer" else f" for the optimizer {name!r}"
            frozen = [x.name for x in layers_of(agent.network) if not x.trainable]
            shown = f" Frozen are: {', '.join(frozen[:4])}." if frozen else ""
            raise ValueError(
                f"Expected trainable weights{which}. Received: "
                f"{_shown(agent.network)} without any.{shown} Set `trainable = True` "
                "where something is to be learned."
            )
    for variable in agent.network.weights:
        value = keras.ops.convert_to_numpy(keras.ops.isfinite(variable.value))
        if not value.all():
            raise ValueError(
                f"Expected finite weights. Received: {value.size - value.sum()} of "
                f"{value.size} in {variable.path!r} of {_shown(agent.network)} are NaN "
                "or infinite. Load or make the network anew."
            )


def check_replay(agent):
    """Raises where a replay buffer cannot hold as many rows as a batch has.

    Args:
        agent: `Agent`, maybe with `buffer` and `batch_size`.
    """
    buffer, size = getattr(agent, "buffer", None), getattr(agent, "batch_size", None)
    capacity = getattr(buffer, "capacity", None)
    if size is not None and capacity is not None and capacity < size:
        raise ValueError(
            f"Expected a replay buffer of at least `batch_size={size}` rows. "
            f"Received: a capacity of {capacity} (`buffer_size` of `for_env`). "
            "Make it larger, usually 10,000 to 1,000,000, or the batch smaller."
        )


def check_batch_size(agent, env):
    """Raises unless minibatches divide the rollout, so that no step is dropped.

    Args:
        agent: `ActorCritic`.
        env: `Environment` of `N` copies.
    """
    size, unit = agent.batch_size, agent.piece
    rows = env.num_envs * agent.rollout_length
    if agent.rollout_length % unit:
        raise ValueError(
            "Expected `sequence_length` to divide the rollout of "
            f"{agent.rollout_length} steps. Received: {unit}"
        )
    if size is None or (rows % size == 0 and size % unit == 0):
        return
    fitting = [n for n in range(unit, rows + 1, unit) if rows % n == 0]
    near = sorted(sorted(fitting, key=lambda n: abs(n - size))[:3])
    whole = f", in whole sequences of {unit}: the policy remembers"
    raise ValueError(
        f"Expected `batch_size` to divide the rollout of {rows} steps "
        f"({env.num_envs} environments x {agent.rollout_length}), so that "
        f"no step is dropped{whole if agent.remembers else ''}. Received: "
        f"batch_size={size}. Near it: {near}"
    )


def _described(spec):
    """Shape and dtype of a batch, of each entry of a nest, for messages."""
    shown = [
        f"{'/'.join(map(str, path))} {(None, *entry.shape)} {entry.dtype}".lstrip()
        for path, entry in entries_of(spec)
    ]
    return "; ".join(shown)


def _check_inputs(network, observation, more):
    """Raises unless inputs are as many and as large as what is given, and are used."""
    takes = network.inputs
    given = [*tf.nest.flatten(observation), *more]
    if isinstance(observation, dict) and not more and _takes_a_list(network):
        names = [tensor.name for tensor in takes]
        missing = sorted({*observation} - {*names})
        if missing:
            raise ValueError(
                f"no `keras.Input` is named {', '.join(map(repr, missing))}; names are "
                f"{names}. Name each input as its entry."
            )
        if {*observation} == {*names}:
            given = [observation[name] for name in names]
    same = len(takes) == len(given) and all(
        len(a.shape) == len(b.shape)
        and all(x == y or None in (x, y) for x, y in zip(a.shape, b.shape, strict=True))
        for a, b in zip(takes, given, strict=True)
    )
    if not same:
        raise ValueError("make a network, or an agent, for these observations.")
    unused = [tensor.name for tensor in takes if not is_used(network, tensor)]
    if unused:
        raise ValueError(
            f"it ignores its input {', '.join(map(repr, unused))}. Connect it to the "
            "outputs, or leave the entry out of the observations."
        )


def _takes_a_list(network):
    """Whether a functional model takes a list, to which Keras fits names."""
    return not isinstance(network, keras.Sequential) and isinstance(network.input, list)


def _softmax_before(tensor):
    """The layer that gives a symbolic tensor as a softmax, or None."""
    layer = producer_of(tensor)
    if isinstance(layer, keras.Model):
        outputs = getattr(layer, "outputs", None)
        alone = isinstance(outputs, list) and len(outputs) == 1
        return _softmax_before(outputs[0]) if alone else None
    activation = getattr(layer, "activation", None)
    is_softmax = activation is keras.activations.softmax
    return layer if is_softmax or type(layer).__name__ == "Softmax" else None


def _shown(network):
    return f"{type(network).__name__} {network.name!r}"
