"""Elo ratings of players: what is expected of a game, and what a result changes."""

from kerasrl2._checks import check_range


def expected_score(rating, other):
    """Expected score of a player against another, in (0, 1); 0.5 if they are equal.

    Elo (1978): `1 / (1 + 10**((other - rating) / 400))`, where a game won counts 1, a
    draw 0.5.

    Args:
        rating: Number, the player's rating.
        other: Number, the opponent's.

    Example:
    >>> round(expected_score(0, 50), 6), round(expected_score(50, 0), 6)
    (0.428537, 0.571463)
    """
    difference = min(max((other - rating) / 400.0, -300.0), 300.0)
    return 1.0 / (1.0 + 10.0**difference)


def updated_ratings(rating, other, score, k=32.0):
    """`(rating, other)` after a game; their sum stays the same.

    Args:
        rating: Number, the first player's rating.
        other: Number, the second's.
        score: Float in [0, 1], the first player's: 1 won, 0.5 drawn, 0 lost; or a mean
            over several games.
        k: Float > 0, the largest change of a rating.

    Example:
    >>> updated_ratings(0.0, 0.0, 1.0, k=0.1)
    (0.05, -0.05)
    """
    check_range("score", score, 0.0, 1.0)
    change = k * (score - expected_score(rating, other))
    return rating + change, other - change
