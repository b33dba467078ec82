"""Images as one file: docker-archive and OCI image layout, read and written as streams."""
