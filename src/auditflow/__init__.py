"""AuditFlow: publish an audit event once, route it anywhere, lose nothing, and prove it.

Data walks one way: ``ingest`` accepts, ``journal`` keeps, ``pipelines`` decide, ``sinks`` deliver.
"""

__version__ = "0.1.0"
