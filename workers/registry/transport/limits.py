"""How long we wait for a registry, and how much of its answers we read.

The lease of a transfer counts on these bounds: an owner that keeps within them is alive.
"""

from __future__ import annotations

from typing import Final

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0  # from the end of the request to the end of the answer's head
SILENCE_SECONDS: Final = 15.0  # between two bytes of a body, either way
DRIP_SECONDS: Final = 60.0  # in so long a body must get on by DRIP_BYTES
DISCARD_SECONDS: Final = 2.0  # for a body that nobody needs, to save the connection
CLOSING_SECONDS: Final = 900.0  # a registry may hash and move a whole blob before it answers
ATTENTION_SECONDS: Final = 0.25  # how often a blocked read or write looks whether it should stop
PAUSE_SECONDS: Final = 60.0  # the longest wait for a budget of requests or bytes
HELPER_SECONDS: Final = 30.0  # for a credential helper

CHUNK_BYTES: Final = 1024 * 1024  # httpcore re-slices what is left of a chunk: never larger
DRIP_BYTES: Final = 16 * 1024
UPLOAD_CHUNK_BYTES: Final = 16 * CHUNK_BYTES  # the most that is sent again after a death
MAX_UPLOAD_CHUNK_BYTES: Final = 1024 * CHUNK_BYTES  # what OCI-Chunk-Min-Length may ask for
CHUNKED_FROM_BYTES: Final = 64 * CHUNK_BYTES  # below, one PUT is cheaper than its insurance
FAST_BYTES: Final = 4 * CHUNK_BYTES  # below, keeping the connection is worth more
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_TOKEN_BYTES: Final = 1024 * 1024
MAX_TAGS_BYTES: Final = 32 * 1024 * 1024  # some registries send all tags at once

MAX_REDIRECTS: Final = 5
MAX_PAGES: Final = 10_000
MAX_TAGS: Final = 2_000_000
