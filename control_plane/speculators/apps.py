from django.apps import AppConfig


class SpeculatorsConfig(AppConfig):
    name = "control_plane.speculators"
    label = "speculators"
