"""What Docker 20.10 really does, recorded, and the same asked of Transship.

`python -m tests.oracle record` runs the scenarios on a Docker daemon and writes its answers to
`tests/data/oracle`.
"""
