"""``auditflow demo``: the main job from end to end, in half a minute, on this machine."""
# Tested in tests/cli/demo/test_scenario.py.

from typing import Annotated

import typer


def run(
    events: Annotated[
        int, typer.Option(envvar="AUDITFLOW_EVENTS", min=1, max=100_000, help="How many events to publish.")
    ] = 400,
    aws: Annotated[
        bool,
        typer.Option(
            "--aws", envvar="AUDITFLOW_AWS", help="Use the real CloudWatch Logs, with your own credentials."
        ),
    ] = False,
    log_group: Annotated[
        str,
        typer.Option(envvar="AUDITFLOW_LOG_GROUP", help="Log group to write to; it is created when missing."),
    ] = "/aws/auditflow/demo",
    region: Annotated[
        str | None,
        typer.Option(
            envvar="AUDITFLOW_REGION", show_default="AWS_REGION, else us-east-1", help="AWS region."
        ),
    ] = None,
) -> None:
    """Watch events go into a local CloudWatch Logs. They pass a durable pipeline and are read back."""
    from auditflow.cli.demo.scenario import Demo

    Demo(events, log_group, region, aws=aws).run()
