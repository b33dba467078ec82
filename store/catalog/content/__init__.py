"""Records of what is held: blobs, layers, references, workspaces."""
