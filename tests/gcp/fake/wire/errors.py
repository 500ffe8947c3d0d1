"""The errors of the API, in the JSON that Google sends."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    def __init__(self, code: int, reason: str, message: str, domain: str = "global", **more: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self._error = {"message": message, "domain": domain, "reason": reason, **more}

    def body(self) -> Json:
        return {"error": {"code": self.code, "message": self.message, "errors": [self._error]}}


def not_found(path: str) -> ApiError:
    return ApiError(404, "notFound", f"The resource '{path}' was not found")


def already_exists(path: str) -> ApiError:
    return ApiError(409, "alreadyExists", f"The resource '{path}' already exists")


def invalid(field: str, value: object, why: str) -> ApiError:
    return ApiError(400, "invalid", f"Invalid value for field '{field}': '{value}'. {why}")


def in_use(path: str, by: str) -> ApiError:
    text = f"The resource '{path}' is already being used by '{by}'"
    return ApiError(400, "resourceInUseByAnotherResource", text)


def stale_fingerprint() -> ApiError:
    """InstanceGroupManager.fingerprint: "otherwise the request will fail with error 412 conditionNotMet"."""
    text = "Invalid fingerprint."
    return ApiError(412, "conditionNotMet", text, locationType="header", location="If-Match")


def rate_limited(metric: str) -> ApiError:
    """Over a quota: 403, not 429 (page "API rate quotas")."""
    text = f"Quota exceeded for quota metric '{metric}' and limit '{metric} per minute per region'"
    return ApiError(403, "rateLimitExceeded", text, domain="usageLimits")


def too_many_requests() -> ApiError:
    return ApiError(429, "rateLimitExceeded", "Resource has been exhausted (e.g. check quota).")


def backend_error(code: int) -> ApiError:
    return ApiError(code, "backendError", "Backend Error")
