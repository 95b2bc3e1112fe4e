"""What commands share: options, output, access to a server, reading the configuration."""
