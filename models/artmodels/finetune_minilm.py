"""A short real fine-tuning of a sentence encoder that survives being killed: `STORE MODEL_FOLDER STEPS`"""

import sys

import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from artifactstore import CheckpointManager, NotFound

PAIRS = [
    ("How do I restore a checkpoint?", "Restoring training from a saved state"),
    ("Which model is in production?", "The alias prod names the deployed version"),
    ("The disk is full again", "There is no space left on the volume"),
    ("Merge two fine-tunes", "Combining the weights of two trained models"),
    ("Translate this sentence", "Give the sentence in another language"),
    ("A cat sits on the mat", "There is a cat on the rug"),
    ("The film starts at eight", "The movie begins at 8 pm"),
    ("Quantize the weights to int8", "Store parameters in eight-bit integers"),
]
TEMPERATURE = 0.05


def embed(model: torch.nn.Module, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean-pooled, normalised sentence embeddings, float32 [batch, 384]"""
    hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    return functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def main(store: str, folder: str, steps: int) -> None:
    """Contrastive training with in-batch negatives (arXiv:1908.10084, section 3), word embeddings frozen"""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    model.embeddings.requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-5)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=steps)
    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    manager = CheckpointManager({"storage_path": store, "run": "minilm-tuned", "best": "loss:min"})
    first, parent = 1, "minilm@base"
    try:
        restored = manager.restore_checkpoint("minilm-tuned@latest", into=state)
        first, parent = restored.step + 1, restored.version.ref
        print(f"restored step {restored.step}, loss {restored.metrics['loss']:.4f}", flush=True)
    except NotFound:
        print("nothing to restore, starting from minilm@base", flush=True)

    left, right = (tokenizer(list(side), padding=True, return_tensors="pt") for side in zip(*PAIRS, strict=True))
    for step in range(first, steps + 1):
        scores = embed(model, left) @ embed(model, right).T / TEMPERATURE
        loss = functional.cross_entropy(scores, torch.arange(len(PAIRS)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        if step % 2 == 0:
            context = {"request_id": f"demo-step-{step}", "phase": "finetune", "step": step, "state": state}
            context |= {"parent": parent, "metrics": {"loss": loss.item()}}
            saved = manager.save_checkpoint(context)
            parent = saved.ref
            print(f"step {step} loss {loss.item():.4f} saved as {saved.ref}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
