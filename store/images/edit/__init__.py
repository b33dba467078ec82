"""Changes of what images are there: publish, tag, delete, prune, save."""
