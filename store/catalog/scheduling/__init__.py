"""Records of what is to be done: jobs, transfers, waits, leases."""
