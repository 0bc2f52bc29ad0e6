"""Several namespaces, each separately: an operator whose rights are bound in some of them only."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.faults.conftest import Way, has_roles, send
from tests.e2e.world import OWNER, World
from tests.stack import OPERATOR_NAMESPACE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.faults.conftest import Contender, Start

RBAC = "apis/rbac.authorization.k8s.io/v1"
NAME = "limited"
NOTICED = 60.0
"""Seconds until a namespace is gone, or bound, and the operator, which checks every 20 seconds, has noticed it."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a ServiceAccount that has none except in the namespaces where they are bound."""

    own: World

    def bind(self, namespace: str) -> None:
        """Bind the operator's rights in a namespace."""
        body = {
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR_NAMESPACE},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": self.own.namespace}],
        }
        self.own.plane.api.do("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)

    def way(self) -> Way:
        """Return the way of an operator that has these rights."""
        accounts = f"api/v1/namespaces/{self.own.namespace}/serviceaccounts"
        self.own.plane.api.do("POST", accounts, {"metadata": {"name": NAME}})
        made = self.own.plane.api.do("POST", f"{accounts}/{NAME}/token", {"spec": {"audiences": []}})
        return Way(user={"token": made["status"]["token"]})


@pytest.fixture
def rights(own: World) -> Rights:
    rights = Rights(own)
    rights.bind(own.namespace)
    return rights


@pytest.fixture
def other(own: World) -> Iterator[World]:
    """Another namespace, with its own Secret and Atlas project."""
    name = f"test-{secrets.token_hex(4)}"
    own.plane.api.do("POST", "api/v1/namespaces", {"metadata": {"name": name}})
    yield World.make(own.plane, own.sandbox, name)
    own.plane.api.ask("DELETE", f"api/v1/namespaces/{name}")


def changes_arrive(world: World, name: str) -> None:
    """Create an object, change its roles, and wait until it is done: list, watch and writes work in that namespace."""
    send(world, name)
    world.until(name, "Invited")
    world.edit(name, roles=[OWNER])
    world.until_it(name, "is changed", has_roles(OWNER))


def shown(operator: Contender, other: World) -> tuple[str, float]:
    """Return what the probe and the metric show for the other namespace; the operator is always ready."""
    answer = operator.get("/readyz?verbose")
    assert answer.status_code == 200
    (line,) = [line for line in answer.text.splitlines() if other.namespace in line]
    return line.partition(":")[0].replace(other.namespace, "other"), operator.metric("unserved_namespaces")


SERVED, UNSERVED = ("[+]namespace other ok", 0.0), ("[-]namespace other not served", 1.0)


def test_without_rights_in_one(own: World, start: Start, rights: Rights, other: World) -> None:
    """The other namespace is served meanwhile; the one without rights is named, and served once there are some."""
    operator = start("--namespace", other.namespace, way=rights.way())
    changes_arrive(own, "jane")
    assert shown(operator, other) == UNSERVED
    assert operator.operator.log.count(f"namespace {other.namespace} is not served") == 1
    rights.bind(other.namespace)
    wait_until("it is served", lambda: shown(operator, other) == SERVED, NOTICED)
    changes_arrive(other, "joan")
    changes_arrive(own, "jim")
    other.delete("joan")
    other.until_gone("joan")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_one_is_deleted(own: World, start: Start, rights: Rights, other: World) -> None:
    """The others go on, at once, when the watch has noticed it, and after a restart."""
    rights.bind(other.namespace)
    way = rights.way()
    operator = start("--namespace", other.namespace, way=way)
    changes_arrive(own, "jane")
    own.plane.api.do("DELETE", f"api/v1/namespaces/{other.namespace}")
    wait_until("it is not served", lambda: shown(operator, other) == UNSERVED, NOTICED)
    changes_arrive(own, "jim")
    operator.kube.cut_streams()
    wait_until("the watch has started again", lambda: "did not open within 60 s" in operator.operator.log, 120)
    changes_arrive(own, "joe")
    assert operator.terminate() == 0
    again = start("--namespace", other.namespace, way=way)
    changes_arrive(own, "joan")
    assert shown(again, other) == UNSERVED
