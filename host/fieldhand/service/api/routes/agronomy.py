"""What a farm's readings mean for its crop."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from fieldhand.service.agronomy.observing import DIALECT
from fieldhand.service.agronomy.results import Analysis
from fieldhand.service.api.deps import NodeDep, ReadDb, ServiceDep

router = APIRouter(tags=["nodes"])


@router.get(
    "/nodes/{node_id}/agronomy", responses={404: {"description": "No such farm, no reading"}}
)
def node_agronomy(node: NodeDep, service: ServiceDep, connection: ReadDb) -> Analysis:
    """ET0, VPD, water, nutrients and disease risk at the node's latest reading, and what to do.

    Every number says where it comes from; a result that cannot be had says what is missing.
    """
    if node.dialect != DIALECT:
        raise HTTPException(404, f"'{node.public_id}' is of dialect {node.dialect}, no {DIALECT}")
    found = service.agronomy.latest(connection, node)
    if found is None:
        raise HTTPException(404, f"no reading of '{node.public_id}' yet")
    return found
