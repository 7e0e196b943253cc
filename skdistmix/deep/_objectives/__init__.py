"""What is minimised when clusters and codes are learnt together; one method a file."""

from ._base import Objective, Targets
from ._dcn import DCN
from ._dec import DEC, IDEC
from ._dekm import DEKM

__all__ = ["OBJECTIVES", "Objective", "Targets"]

OBJECTIVES: dict[str, type[Objective]] = {"dec": DEC, "idec": IDEC, "dcn": DCN, "dekm": DEKM}
