"""Exit statuses; scripts may rely on them.

0  done                                  5  conflict: the object changed, or its state does not allow it
1  anything else went wrong              6  too many requests
2  the command or a field is wrong       7  the service failed, or does not answer
3  no such object                        8  --wait: it ended in another state, or took too long
4  no valid key, or not allowed          130  interrupted
"""

from __future__ import annotations

from slipstream_client import errors

FAILED, USAGE, NOT_FOUND, DENIED, CONFLICT, LIMITED, UNAVAILABLE, NOT_REACHED, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 8, 130

# The first class that fits decides.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.InvalidRequest, USAGE),
    (errors.NotFound, NOT_FOUND),
    (errors.NotAuthenticated, DENIED),
    (errors.PermissionDenied, DENIED),
    (errors.Conflict, CONFLICT),
    (errors.RateLimited, LIMITED),
    (errors.ServiceFailed, UNAVAILABLE),
    (errors.ConnectionFailed, UNAVAILABLE),
    (errors.WaitFailed, NOT_REACHED),
)


class CommandError(errors.SlipstreamError):
    """A sentence for the person at the terminal, and the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: Exception) -> int:
    if isinstance(error, CommandError):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), FAILED)


def words_of(error: Exception) -> str:
    """What to print: the sentence, each refused field, and the request's id for whoever asks for help."""
    if not isinstance(error, errors.ApiError):
        return str(error)
    lines = [error.detail]
    if len(error.errors) > 1 or (error.errors and error.errors[0].detail not in error.detail):
        lines += [f"  {field.pointer or '/'}: {field.detail}" for field in error.errors]
    elif error.errors and error.errors[0].pointer and error.errors[0].pointer not in error.detail:
        lines[0] = f"{error.errors[0].pointer}: {error.detail}"
    if isinstance(error, errors.NotAuthenticated):
        lines.append("  Sign in with `slipstream login`, or set SLIPSTREAM_API_KEY.")
    if error.retry_after is not None and isinstance(error, (errors.RateLimited, errors.ServiceFailed)):
        lines.append(f"  Try again in {error.retry_after:.0f} s.")
    lines.append(f"  ({error.code}, HTTP {error.status}, request {error.request_id or 'unknown'})")
    return "\n".join(lines)
