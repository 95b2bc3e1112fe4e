"""Operating over HTTP: status, dead letters, pipelines, replay, reload, metrics."""
