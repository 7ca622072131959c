"""Convolution of images as they are stored."""

import keras


@keras.saving.register_keras_serializable(package="kerasrl2")
class PixelConv2D(keras.layers.Conv2D):
    """`Conv2D` of pixels from 0 to 255 as if they were divided by 255.

    The few numbers of the kernel are divided instead of the many of the images: the
    same outputs and gradients as after `Rescaling(1 / 255)`, up to rounding, without
    two passes over each batch. The weights are those of the convolution on `[0, 1]`.

    Args:
        filters: Integer >= 1, as all else an argument of `keras.layers.Conv2D`.

    Input shape: `[B, H, W, C]`, uint8 or float.

    Output shape: As of `keras.layers.Conv2D`.

    Example:
    >>> import numpy as np
    >>> layer = PixelConv2D(1, 2, kernel_initializer="ones")
    >>> layer(np.full([1, 2, 2, 1], 255, np.uint8)).numpy().tolist()
    [[[[4.0]]]]
    """

    def convolution_op(self, inputs, kernel):
        inputs = keras.ops.cast(inputs, self.compute_dtype)
        kernel = keras.ops.convert_to_tensor(kernel) / 255.0
        return super().convolution_op(inputs, kernel)
