"""Divergences of distributions. One value per sample; the caller reduces."""

from keras import ops

from kerasrl2.losses._inputs import matched


def gaussian_kl(mean, std, other_mean, other_std):
    """`KL(N(mean, std^2) || N(other_mean, other_std^2))` of each element, in nats.

    Appendix B of Kingma and Welling (2014), https://arxiv.org/abs/1312.6114, with any
    second Gaussian in place of the standard one:
    `log(s_2 / s_1) + (s_1^2 + (m_1 - m_2)^2) / (2 s_2^2) - 1/2`. Sum over the last axis
    for independent dimensions. Of a variational unit the first is the posterior, the
    second the prior. Gradients flow to all arguments.

    Args:
        mean: `[...]` float.
        std: `[...]` float > 0, the standard deviation.
        other_mean: `[...]` float.
        other_std: `[...]` float > 0.

    Returns:
        `[...]` float >= 0.

    Example:
    >>> zero, one, two = ops.array([0.0]), ops.array([1.0]), ops.array([2.0])
    >>> round(float(gaussian_kl(zero, one, one, two)[0]), 6)
    0.443147
    """
    mean, std, other_mean, other_std = matched(
        mean=mean, std=std, other_mean=other_mean, other_std=other_std
    )
    ratio, shift = std / other_std, (mean - other_mean) / other_std
    return 0.5 * (ratio**2 + shift**2 - 1.0) - ops.log(ratio)
