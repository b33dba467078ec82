"""One idempotent function a kind of job: look at what is there, do what is missing, stop when it
waits. Running it twice, late, or after a crash changes nothing.
"""
