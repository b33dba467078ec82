"""Moving one blob: down, up, again after a failure."""
