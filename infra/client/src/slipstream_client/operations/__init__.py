"""Every operation of the management API, under its `operationId`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from .api_keys import ApiKeysOperations
from .audit_events import AuditEventsOperations
from .capacity import CapacityOperations
from .cost_estimates import CostEstimatesOperations
from .deployments import DeploymentsOperations
from .endpoints import EndpointsOperations
from .hardware import HardwareOperations
from .invitations import InvitationsOperations
from .models import ModelsOperations
from .node_tokens import NodeTokensOperations
from .nodes import NodesOperations
from .operator_events import OperatorEventsOperations
from .organizations import OrganizationsOperations
from .permissions import PermissionsOperations
from .prices import PricesOperations
from .projects import ProjectsOperations
from .quarantined_usage import QuarantinedUsageOperations
from .rollouts import RolloutsOperations
from .service_accounts import ServiceAccountsOperations
from .service_keys import ServiceKeysOperations
from .speculator_versions import SpeculatorVersionsOperations
from .speculators import SpeculatorsOperations
from .statements import StatementsOperations
from .training_runs import TrainingRunsOperations
from .usage import UsageOperations
from .webhook_deliveries import WebhookDeliveriesOperations
from .webhooks import WebhooksOperations


class Operations(
    ApiKeysOperations,
    AuditEventsOperations,
    CapacityOperations,
    CostEstimatesOperations,
    DeploymentsOperations,
    EndpointsOperations,
    HardwareOperations,
    InvitationsOperations,
    ModelsOperations,
    NodeTokensOperations,
    NodesOperations,
    OperatorEventsOperations,
    OrganizationsOperations,
    PermissionsOperations,
    PricesOperations,
    ProjectsOperations,
    QuarantinedUsageOperations,
    RolloutsOperations,
    ServiceAccountsOperations,
    ServiceKeysOperations,
    SpeculatorVersionsOperations,
    SpeculatorsOperations,
    StatementsOperations,
    TrainingRunsOperations,
    UsageOperations,
    WebhookDeliveriesOperations,
    WebhooksOperations,
):
    """All operations on one transport."""
