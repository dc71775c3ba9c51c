"""Adapter configs: `adapter_config.json` of PEFT, and of AdapterHub

Fields: https://huggingface.co/docs/peft (PeftConfig); `revision` is the base model's.
"""

from collections.abc import Mapping

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.provenance.base import Provenance, Warner, label, parent, pass_over, shown
from artifactstore.core.provenance.refs import refer


def read(document: object, path: str, warn: Warner) -> Provenance:
    """The model an adapter is for"""
    if not isinstance(document, Mapping):
        raise Invalid(f"it holds {shown(document)}, not keys and values", code="adapter")
    base = document.get("base_model_name_or_path") or document.get("model_name")
    if base is None or base == "":
        return Provenance()
    ref = refer(base, document.get("revision"))
    if ref is None:
        pass_over([base], path, warn)
        return Provenance()
    kind = label(document.get("peft_type"))
    return Provenance((parent(Relation.ADAPTER, ref, path, {"peft_type": kind} if kind else {}),))
