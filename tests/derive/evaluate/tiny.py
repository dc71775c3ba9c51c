"""How the tiny models of these tests are made"""

import functools

import tokenizers
import torch
import transformers

from artifactstore.derive.evaluate.tasks.table import shipped

TEXT = shipped()[0].text


@functools.cache
def tokenizer():
    """Byte-level BPE of at most 500 pieces, with a token before each text"""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([TEXT], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def trained(kind, config, folder, steps=120):
    """A model saved with its tokenizer"""
    torch.manual_seed(0)
    model = kind(config)
    ids = torch.tensor(tokenizer().encode(TEXT))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - 64, (8,))
        batch = torch.stack([ids[start : start + 64] for start in starts.tolist()])
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
