"""Which registry logins a job may use."""
