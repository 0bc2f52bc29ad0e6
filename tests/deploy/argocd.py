"""The scripts for Argo CD about an invitation, in their source layout, and the files that are generated from them."""

from __future__ import annotations

import textwrap
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import yaml

from atlas_invites.invitation.conditions import Evaluated, suspended_status
from atlas_invites.invitation.model import State, Status
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import RECONCILE_REQUESTED_AT, RESEND_REQUESTED_AT
from tests.deploy.manifests import DEPLOY
from tests.deploy.statuses import settled
from tests.unit.builders import EMAIL, INVITATION_ID, NOW, READER, body, time_text, wire_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Object = dict[str, Any]

ARGOCD = DEPLOY / "argocd"
GROUP, KIND = "atlasinvites.io", "AtlasProjectInvite"
SCRIPTS = ARGOCD / "resource_customizations" / GROUP / KIND
ACTIONS = SCRIPTS / "actions"
NAMES = ("reconcile", "resend", "resume", "suspend")
"""The actions."""
ANY_TIME = "0001-01-01T00:00:00Z"
"""The time of an action in the testdata; Argo CD's own tests use the same form."""
_WIDTH = 120


def customizations() -> dict[str, str]:
    """Return the data of argocd-cm, by key."""
    return {
        f"resource.customizations.health.{GROUP}_{KIND}": _script("health.lua"),
        f"resource.customizations.actions.{GROUP}_{KIND}": actions(),
    }


def actions() -> str:
    """Return the actions in the format of argocd-cm."""
    definitions = "".join(
        f"  - name: {name}\n    action.lua: |\n{textwrap.indent(_script(f'actions/{name}/action.lua'), ' ' * 6)}"
        for name in NAMES
    )
    discovery = textwrap.indent(_script("actions/discovery.lua"), "  ")
    return f"discovery.lua: |\n{discovery}definitions:\n{definitions}"


def _script(name: str) -> str:
    return (SCRIPTS / name).read_text()


def installations() -> dict[Path, str]:
    """Return the files that add the scripts to an Argo CD, by path: one for each way to install it."""
    return {
        ARGOCD / "argocd-cm.yaml": _CONFIG_MAP + _data(indent="  "),
        ARGOCD / "argo-cd-values.yaml": _VALUES + _data(indent="    "),
        ARGOCD / "argocd-operator.yaml": _OPERATOR.format(
            health=textwrap.indent(_script("health.lua"), " " * 8), actions=textwrap.indent(actions(), " " * 8)
        ),
    }


_CONFIG_MAP = """\
# kubectl patch configmap argocd-cm --namespace argocd --patch-file deploy/argocd/argocd-cm.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
data:
"""

_VALUES = """\
# Values for the Helm chart argo-cd of the Argo project.
configs:
  cm:
"""

_OPERATOR = """\
# For an Argo CD that argocd-operator installs (OpenShift GitOps): add these entries to the lists of your ArgoCD.
apiVersion: argoproj.io/v1beta1
kind: ArgoCD
metadata:
  name: argocd
  namespace: argocd
spec:
  resourceHealthChecks:
    - group: atlasinvites.io
      kind: AtlasProjectInvite
      check: |
{health}\
  resourceActions:
    - group: atlasinvites.io
      kind: AtlasProjectInvite
      action: |
{actions}"""


def _data(indent: str) -> str:
    return "".join(
        f"{indent}{key}: |\n{textwrap.indent(text, indent + '  ')}" for key, text in customizations().items()
    )


def action_testdata() -> dict[Path, str]:
    """Return the objects of Argo CD's own test of the actions, by path: inputs, and the result of each action."""
    return {
        ACTIONS / "testdata" / f"{name}.yaml": yaml.safe_dump(one, sort_keys=False, width=_WIDTH)
        for name, one in _objects()
    }


def _objects() -> Iterator[tuple[str, Object]]:
    invited = settled(Reason.INVITED, State.PENDING, f"The invitation of {EMAIL} is pending.")
    accepted = settled(Reason.ACCEPTED, State.ACCEPTED, f"{EMAIL} accepted and is a member of the project.", invited)
    suspended = suspended_status(invited, Evaluated(2, None, frozenset({READER})), NOW)
    deleted = time_text(NOW + timedelta(hours=1))
    yield "invited", _object(invited)
    yield "invited_reconcile", _object(invited, annotations={RECONCILE_REQUESTED_AT: ANY_TIME})
    yield "invited_resend", _object(invited, annotations={RESEND_REQUESTED_AT: ANY_TIME})
    yield "invited_suspend", _object(invited, spec=wire_spec(suspend=True))
    yield "suspended", _object(suspended, spec=wire_spec(suspend=True), generation=2)
    yield "suspended_resume", _object(suspended, spec=wire_spec(suspend=False), generation=2)
    yield "accepted", _object(accepted)
    yield "by_id", _object(invited, spec=wire_spec(invitationId=INVITATION_ID, username=None))
    yield "deleting", _object(invited, deletionTimestamp=deleted)
    yield "resend_in_git", resend_in_git(invited)


def resend_in_git(status: Status) -> Object:
    """Return an object whose resend annotation is in Git: Argo CD has applied it."""
    field = f"f:{RESEND_REQUESTED_AT}"
    owner = {
        "manager": "argocd-controller",
        "operation": "Apply",
        "apiVersion": "atlasinvites.io/v1alpha1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:annotations": {field: {}}}},
    }
    return _object(status, annotations={RESEND_REQUESTED_AT: "1"}, managedFields=[owner])


def _object(status: Status, **metadata: Any) -> Object:  # noqa: ANN401 - as in builders
    return body(status=status.to_wire(), **metadata)
