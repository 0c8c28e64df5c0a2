"""Contains all the data models used in inputs/outputs"""

from .adaptation_event import AdaptationEvent
from .adaptation_event_kind_enum import AdaptationEventKindEnum
from .adaptation_event_page import AdaptationEventPage
from .api_key import ApiKey
from .api_key_create_request import ApiKeyCreateRequest
from .api_key_create_scopes_enum import ApiKeyCreateScopesEnum
from .api_key_page import ApiKeyPage
from .audit_event import AuditEvent
from .audit_event_page import AuditEventPage
from .availability import Availability
from .blank_enum import BlankEnum
from .broken import Broken
from .capacity import Capacity
from .capacity_nodes import CapacityNodes
from .compared_arm import ComparedArm
from .compared_version import ComparedVersion
from .compared_version_evaluation import ComparedVersionEvaluation
from .comparison import Comparison
from .counted import Counted
from .deployment import Deployment
from .deployment_page import DeploymentPage
from .desired_enum import DesiredEnum
from .desired_state_enum import DesiredStateEnum
from .disabled_reason_enum import DisabledReasonEnum
from .end_user_erasure_body_request import EndUserErasureBodyRequest
from .endpoint import Endpoint
from .endpoint_create_request import EndpointCreateRequest
from .endpoint_event import EndpointEvent
from .endpoint_event_page import EndpointEventPage
from .endpoint_page import EndpointPage
from .endpoint_state_enum import EndpointStateEnum
from .endpoint_undelete_request import EndpointUndeleteRequest
from .environment_enum import EnvironmentEnum
from .erasure_receipt import ErasureReceipt
from .erasure_receipt_page import ErasureReceiptPage
from .estimate import Estimate
from .estimate_body_request import EstimateBodyRequest
from .estimate_line import EstimateLine
from .evidence import Evidence
from .export_audit_events_format import ExportAuditEventsFormat
from .exported_file import ExportedFile
from .fleet_capacity import FleetCapacity
from .hardware import Hardware
from .hardware_page import HardwarePage
from .invitation import Invitation
from .invitation_accept_request import InvitationAcceptRequest
from .invitation_create_request import InvitationCreateRequest
from .invitation_page import InvitationPage
from .invitation_state_enum import InvitationStateEnum
from .key_rotate_request import KeyRotateRequest
from .list_rollouts_state import ListRolloutsState
from .list_speculator_versions_state import ListSpeculatorVersionsState
from .list_training_runs_state import ListTrainingRunsState
from .list_webhook_deliveries_state import ListWebhookDeliveriesState
from .live_window import LiveWindow
from .loaded import Loaded
from .loaded_state_enum import LoadedStateEnum
from .loss_point import LossPoint
from .measure import Measure
from .member import Member
from .member_page import MemberPage
from .memory_scope_enum import MemoryScopeEnum
from .model import Model
from .model_page import ModelPage
from .model_price import ModelPrice
from .name_body_request import NameBodyRequest
from .name_enum import NameEnum
from .new_api_key import NewApiKey
from .new_service_key import NewServiceKey
from .new_webhook import NewWebhook
from .node import Node
from .node_event import NodeEvent
from .node_event_page import NodeEventPage
from .node_page import NodePage
from .node_state_enum import NodeStateEnum
from .node_token_state_enum import NodeTokenStateEnum
from .operator_event import OperatorEvent
from .operator_event_page import OperatorEventPage
from .organization import Organization
from .organization_page import OrganizationPage
from .patched_endpoint_update_request import PatchedEndpointUpdateRequest
from .patched_member_update_request import PatchedMemberUpdateRequest
from .patched_organization_update_request import PatchedOrganizationUpdateRequest
from .patched_project_update_request import PatchedProjectUpdateRequest
from .patched_service_account_update_request import PatchedServiceAccountUpdateRequest
from .patched_webhook_update_request import PatchedWebhookUpdateRequest
from .permission import Permission
from .permissions import Permissions
from .placement import Placement
from .placement_page import PlacementPage
from .price import Price
from .price_create_request import PriceCreateRequest
from .price_page import PricePage
from .problem import Problem
from .problem_errors_item import ProblemErrorsItem
from .project import Project
from .project_create_request import ProjectCreateRequest
from .project_page import ProjectPage
from .promote_body_request import PromoteBodyRequest
from .promotion_enum import PromotionEnum
from .promotion_strategy_enum import PromotionStrategyEnum
from .quarantined import Quarantined
from .quarantined_page import QuarantinedPage
from .read_statement_format import ReadStatementFormat
from .redaction_enum import RedactionEnum
from .retire_body_request import RetireBodyRequest
from .role_enum import RoleEnum
from .rollback_body_request import RollbackBodyRequest
from .rollout import Rollout
from .rollout_abort_request import RolloutAbortRequest
from .rollout_create_request import RolloutCreateRequest
from .rollout_deployment_request import RolloutDeploymentRequest
from .rollout_event import RolloutEvent
from .rollout_event_page import RolloutEventPage
from .rollout_page import RolloutPage
from .rollout_plan_body_request import RolloutPlanBodyRequest
from .rollout_state_enum import RolloutStateEnum
from .rollout_strategy_enum import RolloutStrategyEnum
from .secret_rotate_request import SecretRotateRequest
from .sequence import Sequence
from .service_account import ServiceAccount
from .service_account_create_request import ServiceAccountCreateRequest
from .service_account_page import ServiceAccountPage
from .service_key import ServiceKey
from .service_key_create_request import ServiceKeyCreateRequest
from .service_key_create_scopes_enum import ServiceKeyCreateScopesEnum
from .service_key_page import ServiceKeyPage
from .speculation_mode_enum import SpeculationModeEnum
from .speculator import Speculator
from .speculator_page import SpeculatorPage
from .speculator_policy import SpeculatorPolicy
from .speculator_policy_body_request import SpeculatorPolicyBodyRequest
from .speculator_version import SpeculatorVersion
from .speculator_version_event import SpeculatorVersionEvent
from .speculator_version_event_page import SpeculatorVersionEventPage
from .speculator_version_page import SpeculatorVersionPage
from .speculator_version_state_enum import SpeculatorVersionStateEnum
from .state_reason import StateReason
from .statement import Statement
from .statement_line import StatementLine
from .stream_coalescing_enum import StreamCoalescingEnum
from .token import Token
from .token_create_request import TokenCreateRequest
from .token_kind_enum import TokenKindEnum
from .token_page import TokenPage
from .token_with_secret import TokenWithSecret
from .traffic import Traffic
from .traffic_policy import TrafficPolicy
from .traffic_policy_body_request import TrafficPolicyBodyRequest
from .training_estimate import TrainingEstimate
from .training_run import TrainingRun
from .training_run_create_request import TrainingRunCreateRequest
from .training_run_detail import TrainingRunDetail
from .training_run_event import TrainingRunEvent
from .training_run_event_page import TrainingRunEventPage
from .training_run_page import TrainingRunPage
from .training_run_state_enum import TrainingRunStateEnum
from .trigger_enum import TriggerEnum
from .usage_report import UsageReport
from .usage_row import UsageRow
from .verification import Verification
from .version_export import VersionExport
from .webhook import Webhook
from .webhook_attempt import WebhookAttempt
from .webhook_create_request import WebhookCreateRequest
from .webhook_delivery import WebhookDelivery
from .webhook_delivery_page import WebhookDeliveryPage
from .webhook_delivery_payload import WebhookDeliveryPayload
from .webhook_delivery_state_enum import WebhookDeliveryStateEnum
from .webhook_page import WebhookPage

__all__ = (
    "AdaptationEvent",
    "AdaptationEventKindEnum",
    "AdaptationEventPage",
    "ApiKey",
    "ApiKeyCreateRequest",
    "ApiKeyCreateScopesEnum",
    "ApiKeyPage",
    "AuditEvent",
    "AuditEventPage",
    "Availability",
    "BlankEnum",
    "Broken",
    "Capacity",
    "CapacityNodes",
    "ComparedArm",
    "ComparedVersion",
    "ComparedVersionEvaluation",
    "Comparison",
    "Counted",
    "Deployment",
    "DeploymentPage",
    "DesiredEnum",
    "DesiredStateEnum",
    "DisabledReasonEnum",
    "Endpoint",
    "EndpointCreateRequest",
    "EndpointEvent",
    "EndpointEventPage",
    "EndpointPage",
    "EndpointStateEnum",
    "EndpointUndeleteRequest",
    "EndUserErasureBodyRequest",
    "EnvironmentEnum",
    "ErasureReceipt",
    "ErasureReceiptPage",
    "Estimate",
    "EstimateBodyRequest",
    "EstimateLine",
    "Evidence",
    "ExportAuditEventsFormat",
    "ExportedFile",
    "FleetCapacity",
    "Hardware",
    "HardwarePage",
    "Invitation",
    "InvitationAcceptRequest",
    "InvitationCreateRequest",
    "InvitationPage",
    "InvitationStateEnum",
    "KeyRotateRequest",
    "ListRolloutsState",
    "ListSpeculatorVersionsState",
    "ListTrainingRunsState",
    "ListWebhookDeliveriesState",
    "LiveWindow",
    "Loaded",
    "LoadedStateEnum",
    "LossPoint",
    "Measure",
    "Member",
    "MemberPage",
    "MemoryScopeEnum",
    "Model",
    "ModelPage",
    "ModelPrice",
    "NameBodyRequest",
    "NameEnum",
    "NewApiKey",
    "NewServiceKey",
    "NewWebhook",
    "Node",
    "NodeEvent",
    "NodeEventPage",
    "NodePage",
    "NodeStateEnum",
    "NodeTokenStateEnum",
    "OperatorEvent",
    "OperatorEventPage",
    "Organization",
    "OrganizationPage",
    "PatchedEndpointUpdateRequest",
    "PatchedMemberUpdateRequest",
    "PatchedOrganizationUpdateRequest",
    "PatchedProjectUpdateRequest",
    "PatchedServiceAccountUpdateRequest",
    "PatchedWebhookUpdateRequest",
    "Permission",
    "Permissions",
    "Placement",
    "PlacementPage",
    "Price",
    "PriceCreateRequest",
    "PricePage",
    "Problem",
    "ProblemErrorsItem",
    "Project",
    "ProjectCreateRequest",
    "ProjectPage",
    "PromoteBodyRequest",
    "PromotionEnum",
    "PromotionStrategyEnum",
    "Quarantined",
    "QuarantinedPage",
    "ReadStatementFormat",
    "RedactionEnum",
    "RetireBodyRequest",
    "RoleEnum",
    "RollbackBodyRequest",
    "Rollout",
    "RolloutAbortRequest",
    "RolloutCreateRequest",
    "RolloutDeploymentRequest",
    "RolloutEvent",
    "RolloutEventPage",
    "RolloutPage",
    "RolloutPlanBodyRequest",
    "RolloutStateEnum",
    "RolloutStrategyEnum",
    "SecretRotateRequest",
    "Sequence",
    "ServiceAccount",
    "ServiceAccountCreateRequest",
    "ServiceAccountPage",
    "ServiceKey",
    "ServiceKeyCreateRequest",
    "ServiceKeyCreateScopesEnum",
    "ServiceKeyPage",
    "SpeculationModeEnum",
    "Speculator",
    "SpeculatorPage",
    "SpeculatorPolicy",
    "SpeculatorPolicyBodyRequest",
    "SpeculatorVersion",
    "SpeculatorVersionEvent",
    "SpeculatorVersionEventPage",
    "SpeculatorVersionPage",
    "SpeculatorVersionStateEnum",
    "Statement",
    "StatementLine",
    "StateReason",
    "StreamCoalescingEnum",
    "Token",
    "TokenCreateRequest",
    "TokenKindEnum",
    "TokenPage",
    "TokenWithSecret",
    "Traffic",
    "TrafficPolicy",
    "TrafficPolicyBodyRequest",
    "TrainingEstimate",
    "TrainingRun",
    "TrainingRunCreateRequest",
    "TrainingRunDetail",
    "TrainingRunEvent",
    "TrainingRunEventPage",
    "TrainingRunPage",
    "TrainingRunStateEnum",
    "TriggerEnum",
    "UsageReport",
    "UsageRow",
    "Verification",
    "VersionExport",
    "Webhook",
    "WebhookAttempt",
    "WebhookCreateRequest",
    "WebhookDelivery",
    "WebhookDeliveryPage",
    "WebhookDeliveryPayload",
    "WebhookDeliveryStateEnum",
    "WebhookPage",
)
