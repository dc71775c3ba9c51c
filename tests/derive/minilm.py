"""A real encoder, and short real fine-tunes of it on different sentences"""

import os

# read once, when the libraries are imported
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from artmodels.demo import model_folder
from artmodels.finetune_minilm import PAIRS, TEMPERATURE, embed
from transformers import AutoModel, AutoTokenizer

from artifactstore.derive.threads import one_thread


def tuned(folder, pairs, seed, steps=3):
    """The model after some steps of contrastive training, as transformers saves it"""
    torch.manual_seed(seed)
    model, tokenizer = opened(model_folder())
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    left, right = (tokenizer(list(side), padding=True, return_tensors="pt") for side in zip(*pairs, strict=True))
    with one_thread():
        for _ in range(steps):
            scores = embed(model.train(), left) @ embed(model, right).T / TEMPERATURE
            torch.nn.functional.cross_entropy(scores, torch.arange(len(pairs))).backward()
            optimizer.step()
            optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def two_tuned(root):
    """Folders a and b"""
    tuned(root / "a", PAIRS[:4], 1)
    tuned(root / "b", PAIRS[4:], 2)


def opened(folder):
    """The model and its tokenizer"""
    return AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def vectors(folder, texts):
    """Of sentences, each of length one"""
    model, tokenizer = opened(folder)
    with torch.no_grad():
        return embed(model.eval(), tokenizer(texts, padding=True, return_tensors="pt"))
