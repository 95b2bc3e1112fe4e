"""Drops debug events and marks the others."""


def transform(input_data):
    if input_data["eventType"].startswith("debug."):
        return None
    return input_data | {"reviewed": True}
