"""One panel for each environment."""

_COLUMNS = 3


def panels_of(groups):
    """`{title: {label: runs}}` of that, or of `{label: runs}` for a single panel.

    Example:
    >>> panels_of({"PPO": [1, 2]})
    {'': {'PPO': [1, 2]}}
    >>> panels_of({"CartPole-v1": {"PPO": [1]}, "Acrobot-v1": {"PPO": [2]}})
    {'CartPole-v1': {'PPO': [1]}, 'Acrobot-v1': {'PPO': [2]}}
    """
    nested = [isinstance(value, dict) for value in groups.values()]
    if not nested or (any(nested) and not all(nested)):
        raise ValueError(
            "Expected a dictionary of labels to lists of runs, or one of titles to "
            f"such dictionaries. Received: {groups!r}"[:500]
        )
    return groups if all(nested) else {"": groups}


def subplots(panels, title):
    """A figure with axes for each of the panels, and their titles.

    Args:
        panels: Dictionary of titles to anything.
        title: String or None, of the whole.

    Returns:
        `(figure, list of axes)`.
    """
    from matplotlib.figure import Figure  # no window, whatever the backend

    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    size = (7.0, 4.0) if len(panels) == 1 else (5.0 * columns, 3.6 * rows)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in grid[len(panels) :]:
        ax.remove()
    axes = list(grid[: len(panels)])
    for ax, name in zip(axes, panels, strict=True):
        ax.set_title(name)
    if len(panels) == 1 and "" in panels:
        axes[0].set_title(title or "")
    elif title:
        figure.suptitle(title)
    return figure, axes
