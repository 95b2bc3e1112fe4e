import asyncio
import threading

import load
import pytest


@pytest.fixture
def server():
    """A server that answers every request with the next of `answers`, torn in two; gives its URL and the list."""
    answers = []
    loop, ready = asyncio.new_event_loop(), threading.Event()
    urls = []

    async def serve(reader, writer):
        while not reader.at_eof():
            try:
                await reader.readuntil(b"END")
            except asyncio.IncompleteReadError:
                break
            answer = answers.pop(0)
            writer.write(answer[:20])
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(answer[20:])
        writer.close()

    async def listen():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            urls.append(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
            ready.set()
            await ended.wait()

    ended = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(listen()))
    thread.start()
    ready.wait()
    yield urls[0], answers
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 5\r\n\r\nhello"


def test_each_request_waits_for_the_whole_answer_before_it(server):
    url, answers = server
    answers += [OK] * 3
    sent = load.send(url, [b"END"] * 3, connections=1)
    assert answers == []
    assert len(sent.waits) == 3
    assert min(sent.waits) > 0.005


def test_an_answer_that_is_not_200_ends_the_load_with_what_it_says(server):
    url, answers = server
    answers.append(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull")
    with pytest.raises(RuntimeError, match="full"):
        load.send(url, [b"END"] * 3, connections=1)
