"""The worker process: its start, its threads, its scheduler."""
