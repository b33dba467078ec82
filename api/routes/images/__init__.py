"""Routes about images, workspaces and registries."""
