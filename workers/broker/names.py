"""How the messages of this project are found in a Redis that others may use too."""

from __future__ import annotations

from typing import Final

KEY_PREFIX: Final = "transship:"
SUBMIT: Final = "transship.submit"  # the message that asks for a job, and its queue
