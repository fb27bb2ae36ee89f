"""Secrets go only into files that git does not see."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fieldhand.errors import FieldhandError

_DEADLINE_S = 20.0


def refuse_if_seen(path: Path) -> None:
    """Raise FieldhandError when git tracks `path` or would with the next `git add`.

    Without git, or outside a repository, nothing is seen. The folder of `path` need not be there.
    """
    folder = path.absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    try:
        # 0: ignored, 1: seen (a tracked file is never ignored), 128: no repository.
        seen = subprocess.run(
            ["git", "check-ignore", "-q", "--", str(path.absolute())],
            cwd=folder,
            capture_output=True,
            timeout=_DEADLINE_S,
        )
    except FileNotFoundError:
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FieldhandError(f"{path}: whether git sees it cannot be told: {error}") from error
    if seen.returncode == 1:
        raise FieldhandError(
            f"{path} would hold secrets, and git sees it: add it to .gitignore "
            "(and 'git rm --cached' it, if it is tracked)"
        )
