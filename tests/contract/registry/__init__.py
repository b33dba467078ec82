"""The registry client against a real registry, straight and through a proxy that misbehaves."""
