"""The control plane's errors. Services raise them; `problems.py` turns them into RFC 9457 answers.

ServiceError
├── NotFound              404  absent, or another tenant's: the two look the same
├── Forbidden             403  the role lacks the permission
│   └── ReauthenticationRequired   a dangerous act, and the person's last authentication was long ago
├── Invalid               400  a field has a bad value; `pointer` names it
├── Conflict              409  the object's state, or a name in use
├── PreconditionFailed    412  the ETag is not the current one
└── PreconditionRequired  428  an If-Match header is needed
"""

from __future__ import annotations


class ServiceError(Exception):
    status = 500
    code = "internal_error"

    def __init__(self, detail: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.pointer = pointer


class NotFound(ServiceError):
    status = 404
    code = "not_found"

    def __init__(self, detail: str = "There is no such object.", **options: str) -> None:
        super().__init__(detail, **options)


class Forbidden(ServiceError):
    status = 403
    code = "forbidden"


class ReauthenticationRequired(Forbidden):
    code = "reauthentication_required"

    def __init__(self, detail: str = "Authenticate again (password or second factor), then repeat this.") -> None:
        super().__init__(detail)


class Invalid(ServiceError):
    status = 400
    code = "invalid"


class Conflict(ServiceError):
    status = 409
    code = "conflict"


class PreconditionFailed(ServiceError):
    status = 412
    code = "precondition_failed"


class PreconditionRequired(ServiceError):
    status = 428
    code = "precondition_required"
