"""The admin token of a home: made at a server's first start, for commands of the home's owner.

It lies in the home's file `token`, which only the owner can read. Where there is that file, or any
token, none is made: whoever has removed the last token has locked the server, and opens it again
over the home's unix socket or by `transship tokens create`.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from transship.api.access.administration import Access, NewToken
from transship.api.http.audit_log import OWNER
from transship.api.http.auth import ADMIN
from transship.store.errors import ConflictError, HomeUnusableError
from transship.store.home import OWNER_FILE

NAME = "owner"


def make_first(home: Path, access: Access) -> None:
    """Make the token, where there has never been one.

    Raises:
        HomeUnusableError: it cannot be written down.
    """
    path = home / OWNER_FILE
    if path.exists() or access.tokens().items:
        return
    try:
        made = access.create_token(NewToken(name=NAME, scopes=[ADMIN]), OWNER)
    except ConflictError:  # another server of this home is making it
        return
    draft = home / f".{OWNER_FILE}.{uuid4().hex}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{made.token}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        access.remove_token(NAME, OWNER)  # nobody would ever know it
        raise HomeUnusableError(
            f"the admin token cannot be written: {error.strerror}", subject=str(path)
        ) from error
