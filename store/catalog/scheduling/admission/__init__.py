"""Which transfers and jobs may start: limits, lanes, turns, parks."""
