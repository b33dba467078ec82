"""How a request to a registry is authenticated."""
