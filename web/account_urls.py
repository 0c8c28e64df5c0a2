"""Paths of people's accounts: django-allauth's views under its names, as far as we offer them."""

from allauth.account import views as account
from allauth.usersessions.views import list_usersessions
from django.urls import include, path

urlpatterns = [
    path("sign-in", account.login, name="account_login"),
    path("sign-up", account.signup, name="account_signup"),
    path("sign-out", account.logout, name="account_logout"),
    path("account/inactive", account.account_inactive, name="account_inactive"),
    path("account/confirm", account.reauthenticate, name="account_reauthenticate"),
    path("account/e-mail", account.email, name="account_email"),
    path("account/e-mail/verify", account.email_verification_sent, name="account_email_verification_sent"),
    path("account/password", account.password_change, name="account_change_password"),
    path("account/password/set", account.password_set, name="account_set_password"),
    path("account/password/reset", account.password_reset, name="account_reset_password"),
    path(
        "account/password/reset/code", account.confirm_password_reset_code, name="account_confirm_password_reset_code"
    ),
    path("account/password/reset/new", account.complete_password_reset, name="account_complete_password_reset"),
    path("account/password/reset/done", account.password_reset_from_key_done, name="account_password_reset_completed"),
    path("account/sessions", list_usersessions, name="usersessions_list"),
    path("account/second-factor/", include("allauth.mfa.urls")),
    path("_allauth/", include("allauth.headless.urls")),
]
