"""Settings from the environment. The same code runs on embedded and on managed services."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from control_plane.schedule import BEAT_SCHEDULE

BASE_DIR = Path(__file__).resolve().parent.parent
DEBUG = os.environ.get("SLIPSTREAM_DEBUG") == "1"


def _required(name: str, debug_value: str) -> str:
    """The variable's value; a stand-in only in debug mode, so that no deployment runs on a known secret."""
    value = os.environ.get(name) or (debug_value if DEBUG else "")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set (SLIPSTREAM_DEBUG=1 supplies an insecure one)")
    return value


def _number(name: str, default: float) -> float:
    try:
        return float(os.environ.get(name, default))
    except ValueError:
        raise ImproperlyConfigured(f"{name} is not a number: {os.environ[name]!r}") from None


def _flag(name: str, *, default: bool) -> bool:
    return os.environ.get(name, "1" if default else "0") == "1"


def _list(name: str, default: str) -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def _mail(url: str) -> dict[str, Any]:
    """`smtp://user:password@host:587?tls=1`, `smtps://…:465`, or `file:///folder`: each mail a file, for local use."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.strip("/"):
        return {"EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend", "EMAIL_FILE_PATH": parts.path}
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ImproperlyConfigured("SLIPSTREAM_EMAIL_URL must look like smtp://user:password@host:587?tls=1")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if parts.scheme == "smtps" else 587),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": dict(parse_qsl(parts.query)).get("tls") == "1",
    }


def _database(url: str) -> dict[str, Any]:
    """`postgresql://user:password@host:port/name?sslmode=require`; `?host=/folder` names a socket folder."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host:port/name")
    # Row-level security shows nothing unless this names what to show: the system's own work sees all tenants, and a
    # request narrows its transaction to the caller's organizations (common/isolation.py).
    options: dict[str, Any] = {"options": "-c slipstream.organizations=*", **dict(parse_qsl(parts.query))}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", parts.hostname or ""),
        "PORT": parts.port or "",
        "OPTIONS": options,
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


# ------------------------------------------------------------------------------------------------------------ secrets

SECRET_KEY = _required("SLIPSTREAM_SECRET_KEY", "insecure-debug-secret-key")
# API keys are stored as HMACs under this pepper. Nodes hold it too; the id allows rotation.
SLIPSTREAM_KEY_PEPPER = _required("SLIPSTREAM_KEY_PEPPER", "insecure-debug-pepper")
SLIPSTREAM_KEY_PEPPER_ID = os.environ.get("SLIPSTREAM_KEY_PEPPER_ID", "1")
# Base64 of a raw Ed25519 private key (32 bytes): signs speculator manifests.
SLIPSTREAM_SIGNING_KEY = _required("SLIPSTREAM_SIGNING_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
SLIPSTREAM_SIGNING_KEY_ID = os.environ.get("SLIPSTREAM_SIGNING_KEY_ID", "1")

# ----------------------------------------------------------------------------------------------------------- services

DATABASE_URL = _required("DATABASE_URL", "postgresql://slipstream@127.0.0.1:5432/slipstream")
# Owns the tables and runs migrations; the runtime role of DATABASE_URL only reads and writes rows.
DATABASE_OWNER_URL = os.environ.get("DATABASE_OWNER_URL", "")
DATABASES = {"default": _database(DATABASE_URL)}

BROKER_URL = _required("BROKER_URL", "memory://")

S3_ENDPOINT_URL = os.environ.get("S3_ENDPOINT_URL", "") or None
# Where clients reach the store, if that is another address than the service's own: signed URLs name it.
S3_PUBLIC_URL = os.environ.get("S3_PUBLIC_URL", "") or None
S3_ACCESS_KEY_ID = os.environ.get("S3_ACCESS_KEY_ID", "") or None
S3_SECRET_ACCESS_KEY = os.environ.get("S3_SECRET_ACCESS_KEY", "") or None
S3_BUCKET = os.environ.get("S3_BUCKET", "slipstream")
S3_REGION = os.environ.get("S3_REGION", "us-east-1")

SLIPSTREAM_VAR = Path(os.environ.get("SLIPSTREAM_VAR", BASE_DIR / "var"))
SLIPSTREAM_MODELS_DIR = Path(os.environ.get("SLIPSTREAM_MODELS_DIR", SLIPSTREAM_VAR / "models"))
SLIPSTREAM_CHECKPOINTS_DIR = Path(os.environ.get("SLIPSTREAM_CHECKPOINTS_DIR", BASE_DIR / "dataplane" / "checkpoints"))
# The dashboard's own address, as mails name it.
SLIPSTREAM_PUBLIC_URL = os.environ.get("SLIPSTREAM_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
# How many proxies in front of the control plane append to X-Forwarded-For; 0 believes the peer's address alone.
SLIPSTREAM_TRUSTED_PROXIES = int(_number("SLIPSTREAM_TRUSTED_PROXIES", 0))
SLIPSTREAM_PUBLIC_INFERENCE_URL = os.environ.get("SLIPSTREAM_PUBLIC_INFERENCE_URL", "http://127.0.0.1:8100")
# A node that has been silent for this long no longer counts as serving.
SLIPSTREAM_NODE_LOST_SECONDS = _number("SLIPSTREAM_NODE_LOST_SECONDS", 30)
# How old a load balancer's routes may be: a node goes on serving a project for this long after they stopped naming it.
SLIPSTREAM_ROUTE_SECONDS = _number("SLIPSTREAM_ROUTE_SECONDS", 5)
# How long one replica less must have been enough before an endpoint gives one up (fleet/scaling.py).
SLIPSTREAM_SCALE_DOWN_SECONDS = _number("SLIPSTREAM_SCALE_DOWN_SECONDS", 300)

# How long a deleted endpoint can be brought back.
SLIPSTREAM_ENDPOINT_RETENTION_DAYS = _number("SLIPSTREAM_ENDPOINT_RETENTION_DAYS", 7)
# What a rollout tolerates of the new deployment before it aborts itself: shares, judged by bounds of this confidence
# once both deployments have answered so many requests.
SLIPSTREAM_ROLLOUT_CONFIDENCE = _number("SLIPSTREAM_ROLLOUT_CONFIDENCE", 0.95)
SLIPSTREAM_ROLLOUT_MIN_REQUESTS = int(_number("SLIPSTREAM_ROLLOUT_MIN_REQUESTS", 20))
SLIPSTREAM_ROLLOUT_MAX_ERROR_INCREASE = _number("SLIPSTREAM_ROLLOUT_MAX_ERROR_INCREASE", 0.02)
SLIPSTREAM_ROLLOUT_MAX_FIRST_TOKEN_SLOWDOWN = _number("SLIPSTREAM_ROLLOUT_MAX_FIRST_TOKEN_SLOWDOWN", 0.25)
SLIPSTREAM_ROLLOUT_MAX_PER_TOKEN_SLOWDOWN = _number("SLIPSTREAM_ROLLOUT_MAX_PER_TOKEN_SLOWDOWN", 0.10)
SLIPSTREAM_ROLLOUT_MAX_ACCEPTANCE_DROP = _number("SLIPSTREAM_ROLLOUT_MAX_ACCEPTANCE_DROP", 0.10)

# The management API: requests of one principal, and failed authentications of one address (0: no limit).
SLIPSTREAM_API_REQUESTS_PER_MINUTE = int(_number("SLIPSTREAM_API_REQUESTS_PER_MINUTE", 600))
SLIPSTREAM_API_FAILURES_PER_MINUTE = int(_number("SLIPSTREAM_API_FAILURES_PER_MINUTE", 60))
# Webhooks go to public addresses over https. 1: also to this machine and its networks, and over http.
SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE = _flag("SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE", default=False)
SLIPSTREAM_WEBHOOK_DISABLE_DAYS = _number("SLIPSTREAM_WEBHOOK_DISABLE_DAYS", 5)

# Codes that verify an address, password resets and invitations go out by mail.
SLIPSTREAM_EMAIL_URL = _required("SLIPSTREAM_EMAIL_URL", f"file://{SLIPSTREAM_VAR / 'mail'}")
EMAIL_BACKEND = ""  # replaced by the next line; here for the type checker
globals().update(_mail(SLIPSTREAM_EMAIL_URL))
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = os.environ.get("SLIPSTREAM_EMAIL_FROM", "Slipstream <no-reply@slipstream.example>")

# ----------------------------------------------------------------------------------------------------------- training

# The isolated child; SPEC and OUT are appended.
SLIPSTREAM_TRAINING_COMMAND = shlex.split(os.environ.get("SLIPSTREAM_TRAINING_COMMAND", "")) or [
    sys.executable,
    "-m",
    "dataplane.training",
]
SLIPSTREAM_TRAINING_MIN_RECORDS = int(_number("SLIPSTREAM_TRAINING_MIN_RECORDS", 48))
SLIPSTREAM_TRAINING_MAX_RECORDS = int(_number("SLIPSTREAM_TRAINING_MAX_RECORDS", 2000))
SLIPSTREAM_TRAINING_HELDOUT_RECORDS = int(_number("SLIPSTREAM_TRAINING_HELDOUT_RECORDS", 16))
SLIPSTREAM_TRAINING_RANK = int(_number("SLIPSTREAM_TRAINING_RANK", 16))
SLIPSTREAM_TRAINING_THREADS = int(_number("SLIPSTREAM_TRAINING_THREADS", 1))
SLIPSTREAM_TRAINING_MAX_SECONDS = int(_number("SLIPSTREAM_TRAINING_MAX_SECONDS", 300))
SLIPSTREAM_TRAINING_WALL_SECONDS = int(_number("SLIPSTREAM_TRAINING_WALL_SECONDS", 1800))
SLIPSTREAM_TRAINING_MEMORY_BYTES = int(_number("SLIPSTREAM_TRAINING_MEMORY_BYTES", 16 << 30))
SLIPSTREAM_TRAINING_LEASE_SECONDS = _number("SLIPSTREAM_TRAINING_LEASE_SECONDS", 30)
SLIPSTREAM_TRAINING_POLL_SECONDS = _number("SLIPSTREAM_TRAINING_POLL_SECONDS", 1)
SLIPSTREAM_TRAINING_LOOKBACK_DAYS = int(_number("SLIPSTREAM_TRAINING_LOOKBACK_DAYS", 3))
# Shares: how much training one project and one organization may have at once and in 24 hours.
SLIPSTREAM_TRAINING_PROJECT_RUNNING = int(_number("SLIPSTREAM_TRAINING_PROJECT_RUNNING", 1))
SLIPSTREAM_TRAINING_ORGANIZATION_RUNNING = int(_number("SLIPSTREAM_TRAINING_ORGANIZATION_RUNNING", 4))
SLIPSTREAM_TRAINING_PROJECT_RUNS_PER_DAY = int(_number("SLIPSTREAM_TRAINING_PROJECT_RUNS_PER_DAY", 96))
SLIPSTREAM_TRAINING_PROJECT_SECONDS_PER_DAY = int(_number("SLIPSTREAM_TRAINING_PROJECT_SECONDS_PER_DAY", 14400))
# What an hour of a training process costs, in micro-dollars.
SLIPSTREAM_TRAINING_PRICE_PER_HOUR = int(_number("SLIPSTREAM_TRAINING_PRICE_PER_HOUR", 0))
# Refuse to train where the kernel gives the child no namespaces of its own (network, files, processes).
SLIPSTREAM_TRAINING_REQUIRE_ISOLATION = _flag("SLIPSTREAM_TRAINING_REQUIRE_ISOLATION", default=False)
# A candidate goes live if its gain is above this with this confidence.
SLIPSTREAM_GATE_MIN_GAIN = _number("SLIPSTREAM_GATE_MIN_GAIN", 0.02)
SLIPSTREAM_GATE_CONFIDENCE = _number("SLIPSTREAM_GATE_CONFIDENCE", 0.95)
SLIPSTREAM_GATE_MIN_HELDOUT_RECORDS = int(_number("SLIPSTREAM_GATE_MIN_HELDOUT_RECORDS", 4))
# An active version is rolled back if it serves clearly below its evaluation.
SLIPSTREAM_REGRESSION_MIN_STEPS = int(_number("SLIPSTREAM_REGRESSION_MIN_STEPS", 400))
SLIPSTREAM_REGRESSION_MAX_DROP = _number("SLIPSTREAM_REGRESSION_MAX_DROP", 0.15)

# ------------------------------------------------------------------------------------------------------------- Django

ALLOWED_HOSTS = _list("SLIPSTREAM_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = _list("SLIPSTREAM_TRUSTED_ORIGINS", "")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",  # allauth's list of sessions says how long ago
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "web",  # before allauth: its templates are the dashboard's
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.headless",
    "control_plane.common",
    "control_plane.tenants",
    "control_plane.endpoints",
    "control_plane.speculators",
    "control_plane.training",
    "control_plane.webhooks",
    "control_plane.billing",
    "control_plane.fleet",
]
MIDDLEWARE = [
    "control_plane.common.request_id.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "web.middleware.ContentSecurityPolicy",
]
ROOT_URLCONF = "control_plane.urls"
WSGI_APPLICATION = "control_plane.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# In the database: all processes count the same attempts (rate limits). A migration makes the table.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "slipstream_cache"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = SLIPSTREAM_VAR / "static"
# Without collected files (tests, debug) WhiteNoise asks the finders instead.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# The local service speaks plain HTTP on the loopback address; behind TLS set SLIPSTREAM_SECURE_COOKIES=1.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _flag("SLIPSTREAM_SECURE_COOKIES", default=False)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024  # a usage batch; everything else is far smaller

# ----------------------------------------------------------------------------------------------------------- accounts

# "closed": only people who hold an open invitation get an account.
SLIPSTREAM_SIGN_UP = os.environ.get("SLIPSTREAM_SIGN_UP", "open")
if SLIPSTREAM_SIGN_UP not in ("open", "closed"):
    raise ImproperlyConfigured("SLIPSTREAM_SIGN_UP is open or closed")
# What a dangerous act of a signed-in person needs: to have authenticated within this time.
SLIPSTREAM_SUDO_SECONDS = 15 * 60

ACCOUNT_ADAPTER = "control_plane.tenants.accounts.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
# Codes instead of links: no mail of ours teaches people to click, and a code works on the device that asked.
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # this session stays; all others end
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = SLIPSTREAM_SUDO_SECONDS
MFA_ADAPTER = "control_plane.tenants.accounts.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Slipstream"
MFA_TOTP_TOLERANCE = 1  # a clock may be 30 s off
# Accounts without a browser: the same flows as JSON under /_allauth/app/v1, with X-Session-Token instead of a cookie.
HEADLESS_CLIENTS = ("app",)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("SLIPSTREAM_LOG_LEVEL", "INFO")},
}

# ---------------------------------------------------------------------------------------------------------------- API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "control_plane.tenants.authentication.ServiceKeyAuthentication",
        "control_plane.tenants.authentication.SessionTokenAuthentication",
        "control_plane.tenants.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["control_plane.common.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "control_plane.common.schema.ApiSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "control_plane.common.parsing.FirstRenderer",
    "EXCEPTION_HANDLER": "control_plane.common.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Slipstream management API",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "PromotionStrategyEnum": "control_plane.speculators.models.STRATEGIES",
        "RolloutStrategyEnum": "control_plane.endpoints.models.STRATEGIES",
        "TokenKindEnum": "control_plane.billing.money.KINDS",
        "NodeTokenStateEnum": "control_plane.fleet.serializers.TOKEN_STATES",
        "RoleEnum": "control_plane.tenants.permissions.ROLES",
        "SpeculatorVersionStateEnum": "control_plane.speculators.models.VersionState.values",
        "TrainingRunStateEnum": "control_plane.training.models.RunState.values",
    },
    "PREPROCESSING_HOOKS": ["control_plane.common.schema.only_management_paths"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "control_plane.common.schema.add_common_parts",
    ],
}

# ------------------------------------------------------------------------------------------------------------- Celery

CELERY_BROKER_URL = BROKER_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "queue_order_strategy": "priority",
        # A lost nudge costs seconds (the sweep repeats it), a request that waits for a dead broker as many.
        "max_retries": 1,
        "interval_start": 0.1,
    }
    if BROKER_URL.startswith(("redis", "rediss"))
    else json.loads(os.environ.get("BROKER_TRANSPORT_OPTIONS", "{}"))
)
# Runs take minutes: workers of their own take them (`-Q training`), so that everything else stays prompt (`-Q celery`).
# Receivers of webhooks may be slow: likewise (`-Q webhooks`).
CELERY_TASK_ROUTES = {
    "training.execute_run": {"queue": "training"},
    "webhooks.dispatch": {"queue": "webhooks"},
}
CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE
CELERY_BEAT_SCHEDULE_FILENAME = str(SLIPSTREAM_VAR / "run" / "beat-schedule")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
