"""Pictures of the site that are drawn from data and code, so that they stay true.

`python -m docs.drawings` draws them anew. A test compares the files with what the
scripts draw.
"""
