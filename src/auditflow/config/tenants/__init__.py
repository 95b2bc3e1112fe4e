"""The tenants' folder: one file for each tenant, each judged by itself."""
