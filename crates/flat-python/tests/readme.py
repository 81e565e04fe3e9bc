"""Runs the Python blocks of pages: `python readme.py PAGE...`. Each block is a program of its own."""

import subprocess
import sys


def blocks(page):
    """The text of each block that is marked `python`."""
    with open(page) as f:
        parts = f.read().split("```python\n")[1:]
    return [part.split("```")[0] for part in parts]


for page in sys.argv[1:]:
    found = blocks(page)
    assert found, f"{page} has no block"
    for block in found:
        subprocess.run([sys.executable, "-c", block], check=True)
