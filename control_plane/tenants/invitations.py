"""How people join an organization: an invitation by mail, accepted by whoever has shown that the address is theirs.

The mailed token finds the invitation and nothing else: a leaked one alone opens nothing. Nobody makes an account for
somebody else, so nobody can prepare one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from control_plane.common.errors import Conflict, Forbidden, NotFound
from control_plane.common.isolation import include, widened
from control_plane.tenants import audit, key_format
from control_plane.tenants.accounts import has_verified
from control_plane.tenants.models import Invitation, Membership, Organization, User
from control_plane.tenants.principal import Principal

VALID_DAYS = 7

_MAIL = """\
You are invited to join the organization {organization} on Slipstream, as {role}.

{url}/invitations/{token}

Sign in, or sign up, with this e-mail address. The invitation holds until {until:%Y-%m-%d %H:%M} UTC.
If you did not expect it, ignore it: nothing happens.
"""


@transaction.atomic
def invite(
    organization: Organization, *, email: str, role: str, principal: Principal, request_id: str = ""
) -> Invitation:
    """Raises Forbidden above the principal's own rank, Conflict for a member or an address with an open invitation."""
    principal.require_rank(organization.id, role)
    email = email.strip().lower()
    if Membership.objects.filter(organization=organization, user__email=email).exists():
        raise Conflict("This person is a member already.", code="member_exists", pointer="/email")
    token, drawn = _drawn()
    try:
        with transaction.atomic():
            made = Invitation.objects.create(
                organization=organization, email=email, role=role, invited_by=principal.actor, **drawn
            )
    except IntegrityError as error:
        if "invitation_open_unique" not in str(error):
            raise
        raise Conflict(
            "This address has an invitation already: send it again, or revoke it.",
            code="invitation_exists",
            pointer="/email",
        ) from error
    _audit(made, principal.actor, "invitation.create", {"email": email, "role": role}, request_id)
    _mail(made, organization, token)
    return made


@transaction.atomic
def resend(invitation: Invitation, *, principal: Principal, request_id: str = "") -> Invitation:
    """Mail a new token, valid from now on; the old one stops working."""
    locked = _locked_open(invitation)
    principal.require_rank(locked.organization_id, locked.role)
    token, drawn = _drawn()
    for name, value in drawn.items():
        setattr(locked, name, value)
    locked.save(update_fields=list(drawn))
    _audit(locked, principal.actor, "invitation.resend", {}, request_id)
    _mail(locked, locked.organization, token)
    return locked


@transaction.atomic
def revoke(invitation: Invitation, *, principal: Principal, request_id: str = "") -> Invitation:
    """Nobody joins with it any more. Revoking twice changes nothing; raises Conflict once it was accepted."""
    if invitation.revoked_at is not None:
        return invitation
    locked = _locked_open(invitation)
    principal.require_rank(locked.organization_id, locked.role)
    locked.revoked_at = timezone.now()
    locked.save(update_fields=["revoked_at"])
    _audit(locked, principal.actor, "invitation.revoke", {}, request_id)
    return locked


def find(token: str) -> Invitation | None:
    """The invitation that can be accepted with this token, whoever asks."""
    if key_format.public_id_of(token, "sli") is None:
        return None
    with widened():  # whoever holds the token is no member yet
        rows = Invitation.objects.unscoped().select_related("organization")
        found = rows.filter(digest=_digest(token), accepted_at=None, revoked_at=None).first()
    return found if found is not None and found.state == "pending" else None


@transaction.atomic
def accept(token: str, *, user: User, request_id: str = "") -> Membership:
    """Join. Raises NotFound for a token that is unknown, used, revoked or expired, and Forbidden for a person who has
    not shown that the invited address is theirs."""
    found = find(token)
    if found is None:
        raise NotFound("There is no such invitation: it may have been accepted, withdrawn, or have expired.")
    if not has_verified(user, found.email):
        raise Forbidden("The invitation is for another e-mail address: sign in with that one.", code="wrong_address")
    include(found.organization_id)
    locked = _locked_open(found)
    if locked.digest != found.digest:
        raise NotFound
    locked.accepted_at = timezone.now()
    locked.save(update_fields=["accepted_at"])
    membership, created = Membership.objects.get_or_create(
        organization_id=locked.organization_id, user=user, defaults={"role": locked.role}
    )
    if not created:
        raise Conflict("You are a member already.", code="member_exists")
    _audit(locked, user.id, "invitation.accept", {"member": membership.id, "role": locked.role}, request_id)
    return membership


def _drawn() -> tuple[str, dict[str, Any]]:
    """A fresh token, and what its row keeps of it."""
    new, now = key_format.mint("sli", settings.SLIPSTREAM_KEY_PEPPER), timezone.now()
    return new.text, {"digest": new.digest, "sent_at": now, "expires_at": now + timedelta(days=VALID_DAYS)}


def _digest(token: str) -> str:
    return key_format.digest(token, settings.SLIPSTREAM_KEY_PEPPER)


def _locked_open(invitation: Invitation) -> Invitation:
    rows = Invitation.objects.filter(organization=invitation.organization_id).select_for_update()
    locked = rows.get(pk=invitation.pk)
    if locked.accepted_at is not None or locked.revoked_at is not None:
        raise Conflict("The invitation was accepted or withdrawn.", code="invitation_closed")
    return locked


def _mail(invitation: Invitation, organization: Organization, token: str) -> None:
    """Once the change is committed; a mail server that is down costs the mail, which can be sent again."""
    text = _MAIL.format(
        organization=organization.name,
        role=invitation.role,
        url=settings.SLIPSTREAM_PUBLIC_URL,
        token=token,
        until=invitation.expires_at,
    )
    subject = " ".join(f"Join {organization.name} on Slipstream".split())
    transaction.on_commit(lambda: send_mail(subject, text, None, [invitation.email]), robust=True)


def _audit(row: Invitation, actor: str, action: str, changes: dict[str, Any], request_id: str) -> None:
    audit.record(row.organization_id, actor=actor, action=action, target=row.id, changes=changes, request_id=request_id)
