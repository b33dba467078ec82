"""Values of the OCI and Docker image formats. Raw bytes are the identity; all else is a view."""
