"""Convolution of images as they are stored."""

import keras

from kerasrl2._checks import check_range


@keras.saving.register_keras_serializable(package="kerasrl2")
class PixelConv2D(keras.layers.Conv2D):
    """`Conv2D` of pixels, from 0 to 255, as if they were divided by 255.

    The few numbers of the kernel are divided instead of the many of the images: the
    same outputs and gradients as after `Rescaling(1 / 255)`, up to rounding, without
    two passes over each batch. The weights are those of the convolution on `[0, 1]`.

    Args:
        *args: As of `keras.layers.Conv2D`: `filters`, `kernel_size`, ...
        pixel_max: Float > 0, the largest pixel, what is divided by.
        **kwargs: As of `keras.layers.Conv2D`.

    Input shape: `[B, H, W, C]`, uint8 or float.

    Output shape: As of `keras.layers.Conv2D`.

    Example:
    >>> import numpy as np
    >>> layer = PixelConv2D(1, 2, kernel_initializer="ones")
    >>> layer(np.full([1, 2, 2, 1], 255, np.uint8)).numpy().tolist()
    [[[[4.0]]]]
    """

    def __init__(self, *args, pixel_max=255.0, **kwargs):
        super().__init__(*args, **kwargs)
        check_range("pixel_max", pixel_max, 0.0, open_low=True)
        self.pixel_max = float(pixel_max)

    def convolution_op(self, inputs, kernel):
        inputs = keras.ops.cast(inputs, self.compute_dtype)
        kernel = keras.ops.convert_to_tensor(kernel) / self.pixel_max
        return super().convolution_op(inputs, kernel)

    def get_config(self):
        return {**super().get_config(), "pixel_max": self.pixel_max}
