"""`make fuzz`: the readers of what others wrote, fed with noise for a minute each.

The tests are those of `make test`, which gives each of them some hundred examples, the same every
time. What one of them finds is kept: with `--hypothesis-profile=random` they begin with it.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.unit.store.archives import test_receive
from tests.unit.store.layers import test_codecs, test_tar
from tests.unit.store.oci import test_manifest, test_reference, test_strictjson
from tests.unit.workers.registry import test_direct

MAX_BYTES = 8192  # of which hypothesis makes one example

TARGETS: tuple[Callable[..., Any], ...] = (
    test_receive.test_a_mangled_archive_gives_a_clean_error_or_is_read,
    test_receive.test_documents_of_any_shape_give_a_clean_error_or_are_read,
    test_tar.test_whatever_is_read_is_entries_or_a_clean_error,
    test_codecs.test_whatever_is_read_is_data_or_a_clean_error,
    test_manifest.test_any_change_to_a_field_is_read_or_refused,
    test_manifest.test_any_bytes_put_in_are_read_or_refused,
    test_strictjson.test_any_bytes_are_read_or_refused,
    test_reference.test_any_text_is_a_reference_or_refused,
    test_direct.test_whatever_a_server_says_is_an_answer_or_a_clean_error,
)


def main() -> int:
    """Run every target; end with 1 at the first that raises what it should not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    options = parser.parse_args()
    for target in TARGETS:
        examples = _run(target, options.seconds)
        print(f"{target.__name__}: {examples} examples, clean", flush=True)
    return 0


def _run(target: Callable[..., Any], seconds: float) -> int:
    feed = target.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    examples = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        noise = os.urandom(random.randrange(MAX_BYTES))
        examples += feed(noise) is not None  # None: not enough of it for an example
    return examples


if __name__ == "__main__":
    sys.exit(main())
