"""Why a reconcile cannot continue. ``controller.reconcile`` turns each into an outcome or a requeue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_invites.invitation.outcome import Kind, Outcome, Reason

if TYPE_CHECKING:
    from atlas_invites.invitation.model import ErrorBody


class Failure(Exception):  # noqa: N818 - not every failure is an error
    """A reconcile cannot continue. Adapters raise it; ``controller.reconcile`` turns it into an outcome.

    Args:
        reason: what it means for the object.
        message: what happened, to what, and what to do. It has no secrets, times, counts or request ids, so a failure
            that repeats has the same message.
        error: the full Atlas error, if an HTTP response had one.
        retry_after: seconds to wait, if the response said so.
        certain: False if the operator could not check whether it is really so.

    ``unanswered`` is True if a write may have been carried out: there was no usable response to it.
    """

    unanswered: bool = False

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        error: ErrorBody | None = None,
        retry_after: float | None = None,
        certain: bool = True,
    ) -> None:
        super().__init__(message)
        self.certain = certain
        self.reason = reason
        self.message = message
        self.error = error
        self.retry_after = retry_after

    @property
    def outcome(self) -> Outcome:
        """The outcome of this failure. ``Retry-After`` applies only to reasons that are retried."""
        retry_after = self.retry_after if self.reason.kind is Kind.RETRYING else None
        return Outcome(self.reason, self.message, error=self.error, requeue_after=retry_after)


class Later(Exception):  # noqa: N818 - not an error
    """Nothing was evaluated: the object waits for another object, and is requeued after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"requeue in {seconds:g} s")
        self.seconds = seconds


class Stale(Exception):  # noqa: N818 - not an error
    """A conditional write failed because the object has changed or is gone: a watch event will follow."""


class ClusterUnavailable(Exception):  # noqa: N818 - a state of the API server
    """The Kubernetes API server did not respond as it should. The message names the call. Try again."""


class WriteRefused(Exception):  # noqa: N818 - not an error of ours
    """The Kubernetes API server rejects a write permanently: an admission policy or webhook, or validation.

    Attributes:
        message: what was rejected, the text of the API server, and what to do; for status and events. ``str`` omits
            the text of the API server, which may contain anything.
    """

    def __init__(self, what: str, status: int, words: str) -> None:
        super().__init__(f"{what}: rejected (HTTP {status})")
        self.message = (
            f"The API server rejected the request {what} (HTTP {status}): {words.rstrip('.')}. Change the policy or "
            "the object so that the operator may write it; the operator retries automatically."
        )
