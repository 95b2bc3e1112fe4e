"""The configuration in force: the file, its reload, the tenants' folder, secret sources."""
