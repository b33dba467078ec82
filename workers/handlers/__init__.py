"""One idempotent function a kind of job.

It looks at what is there, does what is missing, and stops when it waits. Running it twice, late,
or after a crash changes nothing.
"""
