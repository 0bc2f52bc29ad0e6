"""The whole system: the operator as its ServiceAccount, a real API server and the sandbox, each a real process."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.processes import ProcessGroup
from tests.e2e.api import FIELD_MANAGER, INVITES, PLURAL, Api, History
from tests.e2e.world import Plane, World
from tests.stack import Operator, Sandbox, install

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DEBUG = ("--listen", "off", "--log-level", "debug", "--deletion-grace", "0")


class StartOperator(Protocol):
    """Start an operator for only the test's namespace; it ends with the test."""

    def __call__(
        self,
        *options: str,
        sandbox: Sandbox | None = None,
        wait: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> Operator: ...


@pytest.fixture(scope="package")
def processes() -> Iterator[ProcessGroup]:
    """The processes that the tests start; they end with the tests."""
    group = ProcessGroup()
    yield group
    group.close()


@pytest.fixture(scope="package")
def sandbox(processes: ProcessGroup) -> Sandbox:
    """A sandbox for the session: do not change its clock, settings or limits."""
    return Sandbox.start(processes)


@pytest.fixture(scope="package")
def control_plane(control_plane_binaries: Path) -> Iterator[ControlPlane]:
    """A control plane for these tests only: the operator here works in every namespace."""
    assert control_plane_binaries.is_dir()
    with ControlPlane(audit=True) as running:
        yield running


@contextmanager
def _plane(control_plane: ControlPlane) -> Iterator[Plane]:
    install(control_plane)
    api, history = Api(control_plane), History(control_plane)
    yield Plane(control_plane, api, history)
    history.close()
    api.close()


@pytest.fixture(scope="package")
def plane(control_plane: ControlPlane) -> Iterator[Plane]:
    """The control plane on which one operator serves all tests."""
    with _plane(control_plane) as plane:
        yield plane


@pytest.fixture(scope="package")
def operator(processes: ProcessGroup, plane: Plane, sandbox: Sandbox) -> Operator:
    """The operator that all tests share."""
    return Operator.start(processes, plane.control_plane, "--atlas-url", sandbox.url, *DEBUG, name="operator-of-all")


@pytest.fixture
def world(plane: Plane, operator: Operator, sandbox: Sandbox, namespace: str) -> Iterator[World]:
    """A world in which the shared operator works."""
    world = World.make(plane, sandbox, namespace)
    world.operators.append(operator)
    yield world
    assert operator.process.popen.poll() is None
    world.check_laws()


@pytest.fixture(scope="package")
def second_plane(control_plane_binaries: Path) -> Iterator[Plane]:
    """The control plane for tests that start their own operator, or stop the API server."""
    assert control_plane_binaries.is_dir()
    with ControlPlane(audit=True) as control_plane, _plane(control_plane) as plane:
        yield plane


@pytest.fixture
def own(second_plane: Plane, sandbox: Sandbox) -> Iterator[World]:
    """A world without an operator: the test starts its own."""
    namespace = f"test-{secrets.token_hex(4)}"
    api = second_plane.api
    api.do("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
    world = World.make(second_plane, sandbox, namespace)
    yield world
    for item in api.do("GET", f"{INVITES}/namespaces/{namespace}/{PLURAL}")["items"]:
        path = f"{INVITES}/namespaces/{namespace}/{PLURAL}/{item['metadata']['name']}"
        api.ask("PATCH", path, {"metadata": {"finalizers": []}}, fieldManager=FIELD_MANAGER)
        api.ask("DELETE", path)
    api.do("DELETE", f"api/v1/namespaces/{namespace}")


@pytest.fixture
def vault(own: World) -> Iterator[World]:
    """The test's own world, seen from another namespace, for Secrets that the operator does not watch."""
    namespace = f"{own.namespace}-vault"
    own.plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
    yield replace(own, namespace=namespace)
    own.plane.api.do("DELETE", f"api/v1/namespaces/{namespace}")


@pytest.fixture
def start_operator(own: World) -> Iterator[StartOperator]:
    """Start an operator for the test's own world."""
    group = ProcessGroup()

    def start(
        *options: str,
        sandbox: Sandbox | None = None,
        wait: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> Operator:
        url = (sandbox or own.sandbox).url
        number = len(own.operators)
        settings = ("--atlas-url", url, "--namespace", own.namespace, *DEBUG, *options)
        started = Operator.start(
            group, own.plane.control_plane, *settings, name=f"operator-{number}", wait=wait, variables=variables
        )
        own.operators.append(started)
        return started

    yield start
    for one in own.operators:
        one.process.kill()
    own.check_laws()
    group.close()
