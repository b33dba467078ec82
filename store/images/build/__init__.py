"""New images: from configs, from layers, from workspaces."""
