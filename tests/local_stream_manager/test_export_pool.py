"""Who uploads when not all can."""

from __future__ import annotations

import asyncio

from stream_manager_local.export.pool import Pool


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_no_more_than_the_size_of_the_pool_are_inside_at_a_time() -> None:
    async def run() -> None:
        pool, inside, most = Pool(3), 0, 0

        async def visit() -> None:
            nonlocal inside, most
            async with pool.slot(None):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(visit() for _ in range(50)))
        assert (most, inside) == (3, 0)

    asyncio.run(run())


def test_a_lower_priority_number_goes_first_and_none_goes_last() -> None:
    async def run() -> None:
        pool, order = Pool(1), []

        async def visit(priority: int | None, name: str) -> None:
            async with pool.slot(priority):
                order.append(name)

        async with pool.slot(None):
            visits = [
                asyncio.create_task(visit(priority, name))
                for priority, name in [(None, "none"), (9, "nine"), (1, "one"), (9, "nine too"), (2, "two")]
            ]
            await settled()
        await asyncio.gather(*visits)
        assert order == ["one", "two", "nine", "nine too", "none"]

    asyncio.run(run())


def test_whoever_is_canceled_while_waiting_or_when_called_leaves_its_turn_to_the_next() -> None:
    async def run() -> None:
        pool = Pool(1)

        async def visit() -> None:
            async with pool.slot(None):
                pass

        async with pool.slot(None):
            waiting, called, last = (asyncio.create_task(visit()) for _ in range(3))
            await settled()
            waiting.cancel()
            await settled()
        called.cancel()  # it has its turn and has not run since
        await asyncio.wait({waiting, called, last})
        assert waiting.cancelled()
        assert called.cancelled()
        assert not last.cancelled()
        await asyncio.wait_for(visit(), 10)

    asyncio.run(run())
