"""Routes about jobs, and what makes them."""
