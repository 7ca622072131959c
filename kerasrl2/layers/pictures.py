"""Which observations are pictures, how they lie in memory, what encodes them."""

from typing import NamedTuple

from keras import layers

ENCODERS = "auto", "mlp", "impala_cnn", "nature_cnn", "small_cnn", "grid_cnn"
_LARGE, _MIDDLE, _TINY = 36, 16, 5  # smallest sides of pictures
_MOST_FRAMES = 16


class Layout(NamedTuple):
    """How a picture lies in the axes of an observation.

    Attributes:
        axes: Tuple of integers from 1: the observation's axes in the order height,
            width, frames and channels.
        shape: Tuple `(H, W, C)`, C all frames' channels together.
    """

    axes: tuple
    shape: tuple

    @property
    def channels_first(self):
        """Whether channels come before height and width."""
        return self.axes[-1] < self.axes[0]


def layout_of(shape, dtype="float32"):
    """The layout of a picture by its shape, or None where it cannot be one.

    Of three axes the channels are the last; or the first, if then height and width are
    equal and otherwise they are not, or if they are much nearer to each other. A fourth
    axis in front are frames. Of two axes, integers of 8 bits are a picture of one
    channel.

    Args:
        shape: Tuple, one observation.
        dtype: String.

    Returns:
        `Layout` of a picture of at least 5 x 5, or None.

    Example:
    >>> layout_of((4, 84, 64)).shape, layout_of((8, 8, 111)).shape
    ((84, 64, 4), (8, 8, 111))
    """
    if len(shape) == 2 and dtype in ("uint8", "int8") and min(shape) >= _MIDDLE:
        return Layout((1, 2), (*shape, 1))
    if len(shape) == 4 and shape[0] <= _MOST_FRAMES:
        inner = layout_of(shape[1:], dtype)
        if inner is None:
            return None
        height, width, channels = (axis + 1 for axis in inner.axes)
        size = (*inner.shape[:2], shape[0] * inner.shape[2])
        return Layout((height, width, 1, channels), size)
    if len(shape) != 3:
        return None
    first, middle, last = shape
    square = middle == last and first != middle
    if square or 1.5 * _ratio(middle, last) <= _ratio(first, middle):
        found = Layout((2, 3, 1), (middle, last, first))
    else:
        found = Layout((1, 2, 3), shape)
    return found if min(found.shape[:2]) >= _TINY else None


def _ratio(a, b):
    return max(a, b) / min(a, b)


def encoder_of(spec):
    """Name of the encoder that `"auto"` stands for.

    Args:
        spec: `ObservationSpec`.
    """
    layout = layout_of(spec.shape, spec.dtype)
    if layout is None:
        return "mlp"
    sides = layout.shape[:2]
    # Planes of zeros and ones are boards of cells, in which each cell counts.
    board = spec.is_integer and spec.low is not None and spec.scaling() is None
    if min(sides) >= _LARGE:
        return "nature_cnn"
    if max(sides) < _LARGE and (board or max(sides) < _MIDDLE):
        return "grid_cnn"
    if min(sides) >= _MIDDLE:
        return "small_cnn"
    return "grid_cnn" if max(sides) < _LARGE else "mlp"


def as_picture(x, spec):
    """`[B, *shape]` as channels-last pictures `[B, H, W, C]`.

    Raises:
        ValueError: The shape is no picture's.
    """
    layout = layout_of(spec.shape, spec.dtype)
    if layout is None:
        if len(spec.shape) == 3:
            return x  # small; the convolutions say what they need
        raise ValueError(
            "Expected pictures of three axes, or four with frames in front, for a "
            f"convolutional encoder. Received: observations of {spec}. Take "
            "encoder='mlp'."
        )
    if layout.axes != tuple(sorted(layout.axes)):
        x = layers.Permute(layout.axes)(x)
    if tuple(x.shape[1:]) != layout.shape:
        x = layers.Reshape(layout.shape)(x)
    return x


def scaled(x, spec):
    """Observations between 0 and 1, by their bounds, where these are known."""
    scaling = spec.scaling()
    if scaling is None:
        return x
    scale, offset = scaling
    if spec.is_integer and not spec.fits_float32 and not isinstance(spec.low, list):
        x, offset = x - int(spec.low), 0.0  # before float32 takes the digits
    return layers.Rescaling(scale, offset, dtype="float32")(x)


def pixel_max(spec):
    """The largest value of pictures from 0 on, which a first convolution can divide by.

    None where bounds are no two numbers or do not begin at 0.
    """
    if spec.scaling() is None:
        return 1.0
    single = not isinstance(spec.low, list) and not isinstance(spec.high, list)
    return spec.high if single and spec.low == 0.0 else None
