"""Hyperparameter search with Optuna: search spaces, and studies on disk.

`kerasrl2 tune ALGO ENV` is made of these; `callbacks.ReportToOptuna` is for studies of
your own. Optuna is in the extra `tune`.
"""

from kerasrl2.tuning.spaces import check_space, search_space, suggest
from kerasrl2.tuning.studies import Study, open_study

__all__ = [
    "Study",
    "check_space",
    "open_study",
    "search_space",
    "suggest",
]
