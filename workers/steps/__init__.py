"""What several handlers do."""
