"""What every job runs with: its lease, the parts of the process, the wire."""
