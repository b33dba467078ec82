"""What holds for every test."""

from __future__ import annotations

import signal
import threading

from hypothesis import settings

# A shell that runs a command in the background lets it ignore Ctrl-C, and so would everything
# that it starts. The tests send SIGINT to their children and expect it to be heard.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, so that a change is what makes a test fail, not chance; new ones
# with `--hypothesis-profile=random`. No example has a deadline: machines are busy.
settings.register_profile("random", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")
