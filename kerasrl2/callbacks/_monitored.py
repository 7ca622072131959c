"""The entry of an epoch's logs that a callback watches."""


def monitored(logs, monitor):
    """The value of an entry.

    Args:
        logs: Dictionary of an epoch's logs, or None.
        monitor: String, its name.

    Raises:
        ValueError: There is none of that name.
    """
    logs = logs or {}
    if monitor not in logs:
        raise ValueError(
            f"Expected `monitor` to be among the epoch's logs: {sorted(logs)}. "
            f"Received: {monitor!r}. 'val_return' needs `validation_env`."
        )
    return logs[monitor]
