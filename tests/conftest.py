"""What holds for every test."""

from __future__ import annotations

import signal
import threading

# A shell that runs a command in the background lets it ignore Ctrl-C, and so would everything
# that it starts. The tests send SIGINT to their children and expect it to be heard.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
