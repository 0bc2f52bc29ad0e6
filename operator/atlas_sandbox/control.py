"""The control API under `/_sandbox/`: act as a person in Atlas, and order faults. Bodies and responses are JSON.

It is for tests and experiments: every client that can reach the port can use it. docs/sandbox.md lists its calls.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atlas_sandbox import orders, people, seeding, settings, views
from atlas_sandbox.clock import iso
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.fields import MOST, ControlError, Fields, parse
from atlas_sandbox.validation import email, object_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from atlas_sandbox.project import Project
    from atlas_sandbox.sandbox import Sandbox
    from atlas_sandbox.state import State

NOTHING = 204


class _Act(Protocol):
    """What a person does in a project about an invitation or a membership, given its e-mail."""

    def __call__(self, state: State, project: Project, username: str) -> object: ...


class Control:
    """The handlers of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[BaseRoute]:
        """Return the routes of all calls under `/_sandbox/`."""
        acts: dict[str, _Act] = {
            "accept": people.accept,
            "decline": people.decline,
            "expire": people.expire,
            "remove": people.remove,
        }
        return [
            Route("/clock", self.clock, methods=["GET", "POST"]),
            Route("/settings", self.settings, methods=["GET", "PATCH"]),
            Route("/limits", self.limits, methods=["GET", "PUT"]),
            Route("/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/faults/{id}", self.remove_fault, methods=["DELETE"]),
            Route("/overrides", self.overrides, methods=["GET", "POST", "DELETE"]),
            Route("/overrides/{id}", self.remove_override, methods=["DELETE"]),
            Route("/calls", self.calls, methods=["GET", "DELETE"]),
            Route("/credentials", self.credentials, methods=["GET", "POST"]),
            Route("/credentials/{id}", self.credential, methods=["PATCH", "DELETE"]),
            Route("/tokens", self.end_tokens, methods=["DELETE"]),
            Route("/nonces", self.end_nonces, methods=["DELETE"]),
            Route("/projects", self.projects, methods=["GET", "POST"]),
            Route("/projects/{id}", self.project, methods=["GET", "DELETE"]),
            Route("/projects/{id}/invitations", self.invite, methods=["POST"]),
            Route("/projects/{id}/members", self.add_members, methods=["POST"]),
            *(Route(f"/projects/{{id}}/{name}", self._handler(act), methods=["POST"]) for name, act in acts.items()),
            Route("/organization/members", self.members, methods=["GET", "POST"]),
            Route("/organization/members/{username}", self.member, methods=["PATCH", "DELETE"]),
            Route("/reset", self.reset, methods=["POST"]),
        ]

    async def clock(self, request: Request) -> Response:
        """Read the clock, or advance, set or freeze it."""
        clock = self._sandbox.clock
        if request.method == "POST":
            fields = Fields(parse(await request.body()))
            seconds, now = fields.number("advanceSeconds", 0.0, -MOST), fields.text("now", "")
            frozen = fields.flag("frozen", default=clock.frozen)
            fields.done()
            try:
                clock.set(orders.moment(now) if now else clock())
                clock.advance(seconds)
                clock.freeze(frozen=frozen)
            except ValueError as error:
                raise ControlError(str(error)) from error
        return JSONResponse({"frozen": clock.frozen, "now": iso(clock())})

    async def settings(self, request: Request) -> Response:
        """Read the settings, or change those that the body names."""
        if request.method == "PATCH":
            settings.change(self._sandbox, parse(await request.body()))
        return JSONResponse(settings.show(self._sandbox))

    async def limits(self, request: Request) -> Response:
        """Read the limits, or replace them."""
        if request.method == "PUT":
            orders.set_limits(self._sandbox.limits, parse(await request.body()))
        return JSONResponse(orders.show_limits(self._sandbox.limits))

    async def faults(self, request: Request) -> Response:
        """List the faults, add one (or a list of them), or remove all."""
        faults = self._sandbox.faults
        if request.method == "DELETE":
            faults.clear()
            return Response(status_code=NOTHING)
        if request.method == "GET":
            return JSONResponse([orders.show_fault(fault) for fault in faults.all()])
        body = parse(await request.body())
        if isinstance(body, list):
            ordered = [orders.fault(item) for item in body]
            return JSONResponse([orders.show_fault(faults.add(fault)) for fault in ordered], 201)
        return JSONResponse(orders.show_fault(faults.add(orders.fault(body))), 201)

    async def remove_fault(self, request: Request) -> Response:
        """Remove one fault."""
        return _removed(found=self._sandbox.faults.remove(request.path_params["id"]))

    async def overrides(self, request: Request) -> Response:
        """List the overrides, add one, or remove all."""
        overrides = self._sandbox.overrides
        if request.method == "DELETE":
            overrides.clear()
            return Response(status_code=NOTHING)
        if request.method == "GET":
            return JSONResponse([orders.show_override(override) for override in overrides.all()])
        ordered = overrides.add(orders.override(parse(await request.body())))
        return JSONResponse(orders.show_override(ordered), 201)

    async def remove_override(self, request: Request) -> Response:
        """Remove one override."""
        return _removed(found=self._sandbox.overrides.remove(request.path_params["id"]))

    async def calls(self, request: Request) -> Response:
        """Read the log of calls, or clear it."""
        calls = self._sandbox.calls
        if request.method == "DELETE":
            calls.clear()
            return Response(status_code=NOTHING)
        limit = request.query_params.get("limit", "1000")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):  # noqa: PLR2004 - fits an int32
            raise ControlError("limit must be a whole number")
        latest = calls.latest(int(limit), request.query_params.get("operation", ""))
        return JSONResponse(
            {
                "calls": [{**asdict(call), "time": call.time.isoformat(timespec="milliseconds")} for call in latest],
                "counts": calls.by_operation,
                "statuses": calls.by_status,
                "total": calls.total,
            }
        )

    async def credentials(self, request: Request) -> Response:
        """List the credentials, or add one."""
        credentials = self._sandbox.credentials
        if request.method == "GET":
            return JSONResponse([orders.show_credential(credential) for credential in credentials.all()])
        credential = orders.credential(parse(await request.body()))
        credentials.add(credential)
        return JSONResponse(orders.show_credential(credential), 201)

    async def credential(self, request: Request) -> Response:
        """Change one credential (a new `secret` rotates it), or delete it."""
        credentials, known_id = self._sandbox.credentials, request.path_params["id"]
        if request.method == "DELETE":
            return _removed(found=credentials.remove(known_id))
        before = credentials.get(known_id)
        if before is None:
            raise HTTPException(404)
        after = orders.credential(parse(await request.body()), before)
        credentials.add(after)
        return JSONResponse(orders.show_credential(after))

    async def end_tokens(self, _request: Request) -> Response:
        """Invalidate every bearer token."""
        return JSONResponse({"ended": self._sandbox.auth.tokens.end_all()})

    async def end_nonces(self, _request: Request) -> Response:
        """Make every digest challenge stale."""
        return JSONResponse({"ended": self._sandbox.auth.digest.end_all()})

    async def projects(self, request: Request) -> Response:
        """List the projects, or add one."""
        state = self._sandbox.state
        if request.method == "GET":
            return JSONResponse([{"id": project.id, "name": project.name} for project in state.projects.values()])
        fields = Fields(parse(await request.body()))
        project_id = object_id(fields.text("id") if "id" in fields else state.new_id(), "INVALID_GROUP_ID")
        name = fields.text("name", f"project-{project_id[-6:]}")
        fields.done()
        project = state.add_project(project_id, name)
        return JSONResponse({"id": project.id, "name": project.name}, 201)

    async def project(self, request: Request) -> Response:
        """Read everything that one project holds, or delete the project."""
        project = self._project(request)
        if request.method == "DELETE":
            del self._sandbox.state.projects[project.id]
            return Response(status_code=NOTHING)
        return JSONResponse(views.snapshot(project))

    async def invite(self, request: Request) -> Response:
        """Invite people, as a person does in the UI."""
        body = parse(await request.body())
        return JSONResponse(seeding.invite(self._sandbox.state, self._project(request), body), 201)

    async def add_members(self, request: Request) -> Response:
        """Make people members of the project."""
        body = parse(await request.body())
        return JSONResponse(seeding.add_members(self._sandbox.state, self._project(request), body), 201)

    async def members(self, request: Request) -> Response:
        """List the members of the organization, or add one."""
        state = self._sandbox.state
        if request.method == "POST":
            fields = Fields(parse(await request.body()))
            username = email({"username": fields.text("username")})
            fields.done()
            return JSONResponse({"id": state.join_organization(username), "username": username}, 201)
        return JSONResponse([{"id": member_id, "username": address} for address, member_id in state.members.items()])

    async def member(self, request: Request) -> Response:
        """Give a member another e-mail, or remove the member from the organization and so from all its projects."""
        state, username = self._sandbox.state, request.path_params["username"]
        if request.method == "DELETE":
            state.leave_organization(username)
            return Response(status_code=NOTHING)
        fields = Fields(parse(await request.body()))
        new = email({"username": fields.text("username")})
        fields.done()
        return JSONResponse({"id": state.rename_member(username, new), "username": new})

    async def reset(self, _request: Request) -> Response:
        """Restore the initial state; the clock stays."""
        self._sandbox.reset()
        return Response(status_code=NOTHING)

    def _handler(self, act: _Act) -> Callable[[Request], Awaitable[Response]]:
        async def handler(request: Request) -> Response:
            fields = Fields(parse(await request.body()))
            names = fields.texts("usernames") if "usernames" in fields else [fields.text("username")]
            fields.done()
            project = self._project(request)
            for username in names:
                act(self._sandbox.state, project, username)
            return Response(status_code=NOTHING)

        return handler

    def _project(self, request: Request) -> Project:
        return self._sandbox.state.project(request.path_params["id"])


def _removed(*, found: bool) -> Response:
    if not found:
        raise HTTPException(404)
    return Response(status_code=NOTHING)


async def error_response(_request: Request, error: Exception) -> Response:
    """Return the response to a call that cannot be carried out: Atlas's error body, or `{"error": text}`."""
    match error:
        case AtlasError():
            return JSONResponse(error.body(), error.status)
        case HTTPException():
            return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
        case _:
            return JSONResponse({"error": str(error)}, 400)


HANDLED_ERRORS = (AtlasError, HTTPException, ControlError)
"""The exceptions that `error_response` handles."""
