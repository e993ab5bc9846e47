"""What the stores raise, sorted into our errors.

What is wrong with one object concerns its reader alone; credentials and disks concern everybody,
and so does every write that is refused.
"""

import errno
import sys
from typing import Literal

from dfp_batch.errors import (
    ObjectAccessError,
    ObjectMissingError,
    StorageAccessError,
    StorageError,
)

Action = Literal["read", "list", "write", "delete"]

# Drivers' own roots of errors; looked up only when the driver is loaded.
_DRIVER_ERRORS = (
    ("aiohttp", "ClientError"),
    ("azure.core.exceptions", "AzureError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)
# No credentials, or none that count: nothing can be read or written.
_ACCOUNT_ERRORS = {
    "ClientAuthenticationError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "InvalidConfigError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "RefreshError",
    "SSOError",
    "TokenRetrievalError",
}
_NO_CREDENTIALS = {"DefaultCredentialsError", "NoAuthTokenError", "NoCredentialsError"}
_PUBLIC = "; --anonymous reads a public bucket without"
_ACCOUNT_CODES = {
    "401",
    "AccountProblem",
    "AuthenticationFailed",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "InvalidTokenId",
    "NoAuthenticationInformation",
    "NotSignedUp",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_DENIED = "403, no permission"
_ARCHIVED = "archived (restore it first)"
_NO_BUCKET = "the bucket does not exist"
_DELETED = "this version is a mark of deletion"
# What is wrong with one object or its bucket; "" where the store's own text says it best.
_OBJECT_CODES = {
    "301": "the bucket is in another region",
    "400": "400, the store does not take this name",
    "403": _DENIED,
    "405": _DELETED,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthorizationFailure": _DENIED,
    "AuthorizationHeaderMalformed": "",
    "AuthorizationPermissionMismatch": _DENIED,
    "BlobArchived": _ARCHIVED,
    "ContainerNotFound": _NO_BUCKET,
    "InvalidArgument": "",
    "InvalidBucketName": "",
    "InvalidObjectState": _ARCHIVED,
    "KeyTooLongError": "",
    "MethodNotAllowed": _DELETED,
    "NoSuchBucket": _NO_BUCKET,
    "PermanentRedirect": "the bucket is in another region",
}
_FORBIDDEN = 403
_BARE_CODES = {"400", "403"}  # of an answer without a body, which does not say whose fault it is
_FULL_DISK = {errno.EDQUOT, errno.ENOSPC, errno.EROFS}
_NO_SUCH_NAME = {errno.ELOOP, errno.ENAMETOOLONG}
_WRONG_PLACE = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
_READING = {"read", "list"}


def store_errors() -> tuple[type[Exception], ...]:
    """Whatever a driver that is loaded raises when its store fails."""
    loaded = [(sys.modules[name], root) for name, root in _DRIVER_ERRORS if name in sys.modules]
    return (OSError, *(getattr(module, root) for module, root in loaded))


def storage_error(error: Exception, action: Action, url: str) -> StorageError:
    """Our error for what a store has raised: ``<url>: cannot <action>: <reason>``."""
    return _error_class(error, action)(f"{url}: cannot {action}: {_reason(error)}")


def is_bare(error: Exception) -> bool:
    """Say whether this is an answer without a body, which does not say whose fault it is."""
    return _code(error) in _BARE_CODES


def _error_class(error: Exception, action: Action) -> type[StorageError]:
    """Which error it is; a write that is refused concerns all that is to be written."""
    reads = action in _READING
    if _is_account(error):
        return StorageAccessError
    if _is_object(error):
        return ObjectAccessError if reads else StorageAccessError
    if isinstance(error, _WRONG_PLACE):
        # A write makes its own file and folders: what it misses is a usable path.
        return ObjectMissingError if reads else StorageAccessError
    return StorageError


def _is_account(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in _FULL_DISK
    names = {kind.__name__ for kind in type(error).__mro__}
    return full or not names.isdisjoint(_ACCOUNT_ERRORS) or _code(error) in _ACCOUNT_CODES


def _is_object(error: Exception) -> bool:
    unusable = isinstance(error, OSError) and error.errno in _NO_SUCH_NAME
    refused = isinstance(error, PermissionError) or type(error).__name__ == "ParamValidationError"
    return unusable or refused or _code(error) in _OBJECT_CODES


def _code(error: Exception) -> str:
    """The store's own word for what is wrong, or the status of its answer, or nothing.

    S3's stands in the cause of what s3fs raises; Google's driver has but a text for status 403.
    """
    for fault in (error, error.__cause__):
        response = getattr(fault, "response", None)
        if isinstance(response, dict):
            code = response.get("Error", {}).get("Code", "")
            known = code in _ACCOUNT_CODES or code in _OBJECT_CODES
            denied = response.get("ResponseMetadata", {}).get("HTTPStatusCode") == _FORBIDDEN
            return "403" if denied and not known else str(code)
        for name in ("error_code", "status", "code"):  # Azure's, aiohttp's, Google's
            if code := getattr(fault, name, None):
                return str(getattr(code, "value", code))
    return "403" if str(error).startswith("Forbidden: ") else ""


def _reason(error: Exception) -> str:
    known = _OBJECT_CODES.get(_code(error))
    if known:
        return known
    if isinstance(error, FileNotFoundError):
        return "nothing is there"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file stands where a folder is expected"
    text = getattr(error, "strerror", None) or str(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    advice = _PUBLIC if names & _NO_CREDENTIALS else ""
    return (" ".join(str(text).split()) or type(error).__name__) + advice
