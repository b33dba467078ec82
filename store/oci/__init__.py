"""Values of the OCI and Docker image formats. The raw bytes are the identity; the rest is a view."""
