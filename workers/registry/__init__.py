"""The registry client: the only code that speaks to registries, and the only one over httpx.

Start at `client`. Nothing here knows jobs, queues, the catalog or the store's files: bytes come
from a readable object and go to a function. See README.md.
"""
