import contextlib
import importlib.util
import sys
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tony.serve import Limits, create_app


def _load(name):
    """A helper module beside this file: with importlib mode there is no package to import it from."""
    path = Path(__file__).with_name(f"{name}.py")
    if f"serve_{name}" not in sys.modules:
        spec = importlib.util.spec_from_file_location(f"serve_{name}", path)
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[f"serve_{name}"]


@pytest.fixture(scope="session")
def fakes():
    return _load("fakes")


@pytest.fixture
def omni(fakes):
    return fakes.FakeOmni()


@pytest.fixture
def client(omni):
    limits = Limits(body_bytes=2**20)
    with TestClient(create_app(omni, limits=limits), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def live(omni):
    """The address of a real server over `omni`, on a port of its own."""
    with live_server(omni) as url:
        yield url


def live_server(omni, **kwargs):
    return live_app(create_app(omni, **kwargs))


@contextlib.contextmanager
def live_app(app):
    """The address of a real server of `app`."""
    import uvicorn

    from tony.serve import reserve

    sock = reserve("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def serving():
    """`live_server`, for tests that bring their own model or limits."""
    return live_server
