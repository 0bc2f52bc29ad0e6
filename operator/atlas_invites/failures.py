"""Why a reconcile cannot go on. ``controller.reconcile`` turns each into an outcome or a requeue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_invites.invitation.outcome import Kind, Outcome, Reason

if TYPE_CHECKING:
    from atlas_invites.invitation.model import ErrorBody


class Failure(Exception):  # noqa: N818 - a failure may be nobody's error
    """A reconcile cannot go on; adapters raise it, ``controller.reconcile`` turns it into an outcome.

    Args:
        reason: what it means for the object.
        message: what happened, to what, and what to do. No secrets, times, counts or request ids: a failure that
            repeats must read the same.
        error: Atlas's error, whole, where a real HTTP answer carried one.
        retry_after: seconds that the answer asked us to wait, if it did.
        certain: whether it is known to be so; not where the operator could not look.

    ``unanswered`` is True where a write may have been carried out all the same: no usable answer to it came.
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
        """The outcome that this leads to. Only a reason that is retried honors ``Retry-After``."""
        retry_after = self.retry_after if self.reason.kind is Kind.RETRYING else None
        return Outcome(self.reason, self.message, error=self.error, requeue_after=retry_after)


class Later(Exception):  # noqa: N818 - says when
    """Nothing was evaluated: the object waits for another one, and is requeued after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"requeue in {seconds:g} s")
        self.seconds = seconds


class Stale(Exception):  # noqa: N818 - says what the object is
    """A conditional write found that the object has changed or gone: its event is on the way."""


class ClusterUnavailable(Exception):  # noqa: N818 - says what the API server is
    """The Kubernetes API server did not answer as it should; the message says to what. Try again."""


class WriteRefused(Exception):  # noqa: N818 - says what the API server does
    """The Kubernetes API server refuses a write for good: an admission policy or webhook, or validation.

    Attributes:
        message: what was refused, the API server's words, and what to do; for status and events. The words may be
            anything, so ``str`` leaves them out.
    """

    def __init__(self, what: str, status: int, words: str) -> None:
        super().__init__(f"{what}: refused (HTTP {status})")
        self.message = (
            f"The API server refuses {what} (HTTP {status}): {words.rstrip('.')}. Change the policy or the object so "
            "that the operator may write it; the operator tries again."
        )
