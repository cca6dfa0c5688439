"""Reports of use to a model hub: this project sends none."""

import os

__all__ = ["without_telemetry"]


def without_telemetry() -> None:
    """Keep the hub's libraries from reporting that a trainer was made.

    TRL's trainers report their construction (class, architecture of the model, device) to the hub unless this is
    switched off. The library reads the variable once, when it is imported, which ``transformers`` has
    often done by the time a trainer is made. So its constant is set too; processes started later read the variable.
    """
    from huggingface_hub import constants

    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    constants.HF_HUB_DISABLE_TELEMETRY = True
