"""Networks that remember: a recurrent cell between an encoder and output layers."""

import keras

from kerasrl2.layers.cells import (
    build_cell,
    check_cell,
    first_state,
    output_size,
    step,
)


@keras.saving.register_keras_serializable(package="kerasrl2")
class RecurrentNetwork(keras.Model):
    """A network that remembers: an encoder, a recurrent cell, and output layers.

    It keeps no state itself: the state goes in and comes out, float32 whatever the
    cell computes in. Whatever has the methods `initial_state` and `call` with these
    arguments and results can take its place in an agent; `encode`, `cell` and `decode`
    are what makes sequences fast: encoder and output layers see all steps at once, and
    only the cell goes from step to step.

    Args:
        encoder: Built Keras model, observations `[B, ...]` (or a nest) to `[B, F]`.
        cell: Recurrent cell of Keras or in its form, `(x, states)` to `(output,
            states)`, such as `keras.layers.LSTMCell` or `StackedRNNCells`. Each row
            must be computed by itself, and without dropout: acting and learning are of
            one and the same policy.
        decoder: Built Keras model, `[B, U]`, outputs of the cell, to the outputs.
        **kwargs: Base model arguments.

    Call arguments:
        observation: `[B, ...]`, or a nest.
        state: Nest of `[B, ...]` float32, from `initial_state` or the step before;
            None: at the start of an episode.

    Returns:
        Tuple of the outputs of `decoder`, and the next state.

    Example:
    >>> network = RecurrentNetwork(
    ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(8)]),
    ...     keras.layers.GRUCell(5),
    ...     keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]))
    >>> values, state = network(keras.ops.ones([4, 3]), network.initial_state(4))
    >>> values.shape, [leaf.shape for leaf in state]
    (TensorShape([4, 2]), [TensorShape([4, 5])])
    """

    def __init__(self, encoder, cell, decoder, **kwargs):
        super().__init__(**kwargs)
        check_cell(cell)
        self.encoder, self.cell, self.decoder = encoder, cell, decoder
        if not cell.built:
            build_cell(cell, _tensor_of(encoder, "outputs").shape[-1])
        width, takes = output_size(cell), _tensor_of(decoder, "inputs")
        if takes.shape[-1] != width:
            raise ValueError(
                f"Expected `decoder` of inputs [B, {width}], the outputs of the cell. "
                f"Received: {decoder.name!r} of {tuple(takes.shape)}"
            )
        self.built = True

    def initial_state(self, batch_size):
        """The state at the start of an episode, zeros unless the cell has another.

        Args:
            batch_size: Integer or scalar tensor, `B`.

        Returns:
            Tuple (of tuples, with a stack of cells) of `[B, ...]` float32.
        """
        return first_state(self.cell, batch_size)

    def call(self, observation, state=None, training=False):
        features = self.encode(observation, training)
        if state is None:
            state = self.initial_state(keras.ops.shape(features)[0])
        output, state = step(self.cell, features, state)
        return (*self.decode(output, training), state)

    def compute_output_spec(self, observation, state=None, training=False):
        rows = keras.tree.flatten(observation)[0].shape[0]

        def spec(leaf):
            dtype = keras.backend.standardize_dtype(leaf.dtype)
            return keras.KerasTensor((rows, *leaf.shape[1:]), dtype)

        outputs = map(spec, self.decoder.outputs)
        return (*outputs, keras.tree.map_structure(spec, self.initial_state(1)))

    def encode(self, observation, training=False):
        """Features `[B, F]`."""
        return self.encoder(observation, training=training)

    def decode(self, output, training=False):
        """Tuple of the outputs, from those of the cell, `[B, U]`."""
        outputs = self.decoder(output, training=training)
        return tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)

    def get_config(self):
        parts = {"encoder": self.encoder, "cell": self.cell, "decoder": self.decoder}
        serialize = keras.saving.serialize_keras_object
        config = {"name": self.name, "trainable": self.trainable}
        config["dtype"] = self.dtype_policy.name
        return {**config, **{key: serialize(part) for key, part in parts.items()}}

    @classmethod
    def from_config(cls, config):
        """One of the configuration that `get_config` returned."""
        config, deserialize = dict(config), keras.saving.deserialize_keras_object
        parts = ("encoder", "cell", "decoder")
        return cls(*[deserialize(config.pop(name)) for name in parts], **config)


def _tensor_of(model, name):
    """The only one of a model's symbolic inputs or outputs."""
    tensors = getattr(model, name, None)
    if not isinstance(tensors, list) or len(tensors) != 1:
        raise ValueError(
            f"Expected a functional or sequential Keras model with one of `{name}`, "
            f"as a part of `RecurrentNetwork`. Received: {type(model).__name__} "
            f"{getattr(model, 'name', model)!r}. A network of another kind has "
            "`initial_state` and `call` of its own."
        )
    return tensors[0]
