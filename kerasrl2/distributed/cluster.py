"""Ray: started on this machine, or joined where it runs; without it, what to do."""

import importlib.util
import os
import socket
import sys
import threading
import time
import warnings

_ours = {"users": 0, "started": False}
_lock = threading.Lock()
_SETTLED = 5.0  # seconds
_MISSING = 'Workers in other processes need Ray: pip install "kerasrl2[ray]"'
SETTINGS = {  # before Ray is imported: otherwise it listens on all addresses
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def check_installed():
    """Raises `ImportError` that says how to install Ray; does not import it."""
    if importlib.util.find_spec("ray") is None:
        raise ImportError(_MISSING)


def ray_module(address=None):
    """The package Ray, imported; raises `ImportError` that says how to install it."""
    loopback = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    imported = sys.modules.get("ray") is not None
    if address is None and imported and os.environ.get(loopback) != "0":
        warnings.warn(
            "Ray was imported before: if it is started now, it may listen on all "
            f"addresses of this machine. Set {loopback}=0 before `import ray`, or "
            "leave that to kerasrl2.",
            RuntimeWarning,
            stacklevel=3,
        )
    for name, value in SETTINGS.items():
        if address is None or name != loopback:
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ImportError(_MISSING) from error
    return ray


def join(workers):
    """Ray, started or connected to, with processors for all workers.

    To be followed by `leave`. A Ray that runs in this process already is used as it is.

    Args:
        workers: `Workers`.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: There is no cluster at the address.
        ValueError: It has fewer processors than the workers ask for.
    """
    ray = ray_module(workers.address)
    with _lock:
        if not ray.is_initialized():
            _start(ray, workers.address)
            _ours["started"] = True
        _ours["users"] += 1
    try:
        _check_processors(ray, workers)
    except BaseException:
        leave(ray)
        raise
    return ray


def started():
    """Ray on this machine, started unless it runs; it ends with this process."""
    ray = ray_module()
    with _lock:
        if not ray.is_initialized():
            _start(ray, None)
    return ray


def leave(ray):
    """Ends Ray, or the connection to it, with the last of those that have joined."""
    with _lock:
        _ours["users"] = max(0, _ours["users"] - 1)
        if _ours["started"] and not _ours["users"]:
            _ours["started"] = False
            ray.shutdown()


def _start(ray, address):
    quiet = {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "error",
        "configure_logging": True,
    }
    if address is None:
        ray.init(address="local", **quiet)
        return
    quiet.pop("include_dashboard")
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        mismatch = "ersion mismatch" in str(error)
        wanted = (
            "the same versions of Ray and Python as here"
            if mismatch
            else ("a cluster at this address")
        )
        advice = (
            "Install the same on all nodes."
            if mismatch
            else (
                "Start one with `ray start --head`, give its address as 'host:port', "
                "or leave `address` out to use this machine alone."
            )
        )
        raise ConnectionError(
            f"Expected {wanted}. Received: address={address!r}, {reason} {advice}"
        ) from error


def _knock(address):
    """Raises `OSError` unless something listens there: Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()


def _check_processors(ray, workers):
    """Ray waits in silence for processors that are not there: so this looks first."""
    there = ray.cluster_resources().get("CPU", 0.0)
    needed, until = workers.count * workers.cpus, time.monotonic() + _SETTLED
    while True:  # what has just ended is counted as taken for a moment
        free = ray.available_resources().get("CPU", 0.0)
        if needed <= free + 1e-6:
            return
        if needed > there or time.monotonic() > until:
            break
        time.sleep(0.1)
    free = min(free, there) if needed <= there else there
    room = int(free / workers.cpus + 1e-6)
    raise ValueError(
        f"Expected at most {room} workers of {workers.cpus:g} processors each: "
        f"{free:g} of the {there:g} here are free. Received: {workers.count}. Take "
        f"fewer, or let them share: `Workers({workers.count}, cpus="
        f"{max(0.01, int(100 * free / workers.count) / 100):g})`."
    )
