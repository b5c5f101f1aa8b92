import asyncio

import pytest

from preloader.components.blocking import make_or_release
from preloader.errors import ClosedError


class LateExecutor:
    """Delivers at the very moment in which its caller is cancelled, and refuses work after that where it is told to."""

    def __init__(self, *, closes):
        self._closes = closes
        self._calls = 0

    async def run(self, function, *args):
        self._calls += 1
        if self._calls == 1:
            function(*args)
            raise asyncio.CancelledError
        if self._closes:
            raise ClosedError("closed")
        return function(*args)

    async def aclose(self):
        pass


@pytest.mark.parametrize("closes", [False, True])
def test_a_late_value_is_released_even_where_the_executor_takes_no_work(closes):
    released = []
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(make_or_release(LateExecutor(closes=closes), lambda: "the value", released.append))
    assert released == ["the value"]


def test_a_release_that_fails_does_not_hide_the_cancellation(caplog):
    def fail(value):
        raise OSError(f"cannot release {value}")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(make_or_release(LateExecutor(closes=False), lambda: "the value", fail))
    assert "cannot release the value" in caplog.text
