"""How jobs are submitted, received, scheduled and stopped."""
