"""What is done: jobs, transfers, and the registry client that moves bytes."""
