"""What every request passes: who asks, how much, how long, and how errors read."""
