"""The automation by which an alert starts a retraining. What it starts asks our own tables first whether it may (slot.claim)."""

from uuid import UUID

from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.running.alerting import EVENT

RETRAIN = "Evergreen: an alert starts a retraining"


def retrain_on_alert(deployment: UUID) -> AutomationCore:
    """Return the automation: each event of ours starts a run of the deployment, with the event's payload as its parameters.

    Every event, not one in a while: which of them is one too many is known to the loop's tables alone.
    """
    return AutomationCore(
        name=RETRAIN,
        description="Starts a run of the retrain deployment for each event; the run itself finds out whether it is one too many.",
        trigger=EventTrigger(expect={EVENT}, match={"prefect.resource.id": "*"}, posture=Posture.Reactive, threshold=1),
        actions=[RunDeployment(deployment_id=deployment, parameters={"wanted": "{{ event.payload }}", "event": "{{ event.id | string }}"})],
    )
