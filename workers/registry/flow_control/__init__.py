"""How fast a registry is asked, and when it is left alone."""
