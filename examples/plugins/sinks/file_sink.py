"""Appends each event to a file, one JSON object a line."""

import json

PROPERTIES = {"path": "File to append to"}
__version__ = "1.0"


def process(event_data, properties):
    with open(properties["path"], "a") as archive:
        archive.write(json.dumps(event_data) + "\n")
    return {"path": properties["path"]}
