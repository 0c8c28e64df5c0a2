from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "control_plane.training"
    label = "training"
