"""The command line: `kerasrl2 train`, `evaluate`, `plot`, `list`."""

from kerasrl2.cli.app import app, main

__all__ = ["app", "main"]
