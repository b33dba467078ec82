"""The kill matrix: each role is killed at each stage, and every job ends well all the same."""
