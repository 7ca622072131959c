"""Algorithms that know nothing of the package but its contract, as a user's would."""
