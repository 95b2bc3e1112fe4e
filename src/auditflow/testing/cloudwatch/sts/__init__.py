"""STS and IAM: identities, roles, policies."""
