"""Operating a running server: status, where, pause, resume, replay, reload, dead letters."""
