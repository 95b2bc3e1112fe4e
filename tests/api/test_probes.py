from fastapi import FastAPI

from auditflow import __version__
from auditflow.api import probes


async def test_a_process_that_is_not_ready_says_why_and_is_alive_all_the_same(client):
    reason = "the disk is full"
    app = FastAPI()
    app.include_router(probes.router("ingest", lambda: reason))
    async with client(app) as ask:
        for path in ("/ready", "/health"):
            answer = await ask.get(path)
            assert answer.status_code == 503
            assert answer.json()["reason"] == "the disk is full"
        assert (await ask.get("/live")).status_code == 200
        reason = ""
        assert (await ask.get("/ready")).json() == {"status": "ready"}
        health = await ask.get("/health")
        assert (health.status_code, health.json()["role"]) == (200, "ingest")
        info = (await ask.get("/info")).json()
        assert info == {"name": "auditflow", "version": __version__, "role": "ingest"}
