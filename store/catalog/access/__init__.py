"""Records of who may do what: tokens, tenants, credentials, quotas."""
