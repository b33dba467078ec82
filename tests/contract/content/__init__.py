"""What every content store keeps to."""
