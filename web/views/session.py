"""Signing in and out, and the way to the project that one looked at last."""

from __future__ import annotations

from django.contrib.auth import logout
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from control_plane.tenants import selectors as tenants
from web.page import Page, page


class SignIn(LoginView):
    template_name = "web/sign_in.html"
    authentication_form = AuthenticationForm
    redirect_authenticated_user = True


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("web:sign-in")


@page("web:home")
def home(page: Page) -> HttpResponse:
    if page.project is None:
        return page.render("web/nothing.html", {})
    return redirect("web:overview", page.project.id)


@page("web:home")
def switch(page: Page) -> HttpResponse:
    project = tenants.project(page.principal, page.request.GET.get("project", ""))
    return redirect("web:overview", project.id)
