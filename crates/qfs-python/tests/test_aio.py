"""The client for asyncio."""

import asyncio
import inspect

import pytest

import qfs


def test_operations(server, home):
    server.publish(x=b"x" * 1000, y=b"y")

    async def work():
        async with await qfs.connect_async(server.ticket) as client:
            assert [entry.name for entry in await client.list()] == ["x", "y"]
            both = await asyncio.gather(client.read("x"), client.read("y"), *(client.stat("x") for _ in range(50)))
            assert both[:2] == [b"x" * 1000, b"y"]
            file = await client.open("x")
            assert file.size == 1000 and await file.read_at(990, 100) == b"x" * 10
            async with client.upload("z") as upload:
                await upload.write(b"z" * 300_000)
                await upload.write(memoryview(b"!"))
            assert (server.root / "z").read_bytes() == b"z" * 300_000 + b"!"
            with pytest.raises(ZeroDivisionError):
                async with client.upload("half") as upload:
                    await upload.write(b"1")
                    raise ZeroDivisionError
            assert not await client.exists("half")
            seen = []
            await client.get(None, home, progress=seen.append)
            assert seen[-1].files == 3
            await client.push(home, "copy")
            await client.pull(home / "back", "copy")
            assert (home / "back" / "y").read_bytes() == b"y"
            await client.write("w", b"1")
            await client.copy("w", "v")
            await client.remove("w")
            with pytest.raises(qfs.NotFound):
                await client.read("w")
            assert (await client.put_file(home / "y", "yy")).status == "uploaded"
            return await client.get_file("v", home / "v")

    assert asyncio.run(work()).status == "downloaded"


def test_a_cancelled_task_ends_its_work(server, home):
    server.publish(large=bytes(1) * 100_000_000)

    async def work():
        client = await qfs.connect_async(server.ticket)
        begun = asyncio.Event()
        task = asyncio.create_task(client.get_file("large", home / "large", progress=lambda _: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.close()
        with pytest.raises(qfs.ClientClosed):
            await client.list()

    asyncio.run(work())


def test_both_clients_are_asked_the_same():
    def operations(client):
        return {name: method for name, method in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}

    blocking, awaited = operations(qfs.Client), operations(qfs.AsyncClient)
    assert set(awaited) - set(blocking) == {"upload"} and set(blocking) <= set(awaited)
    for name in set(blocking) - {"open"}:
        assert inspect.signature(blocking[name]) == inspect.signature(awaited[name]), name
    assert list(inspect.signature(qfs.connect).parameters.values()) == list(inspect.signature(qfs.connect_async).parameters.values())
