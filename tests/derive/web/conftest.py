"""Small models of transformers for the tests of the web, each exported once"""

import pytest

from artifactstore.derive.web.export import export
from artifactstore.store import Store

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnxruntime_genai")
pytest.importorskip("onnxscript")

VOCABULARY = 264


def write_tokenizer(folder):
    """One token a byte, and four that say where a text begins and ends"""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = {letter: n + 4 for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE({"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3, **letters}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


def made(folder, kind, config):
    torch.manual_seed(0)
    model = kind(config).eval()
    # so that what is generated is not one token over and over
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.copy_(torch.randn(weight.shape) * (0.05 if "embed" in name else 2 * weight.shape[1] ** -0.5))
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def qwen(tmp_path_factory):
    """A language model whose table of embeddings is its last matrix"""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "tie_word_embeddings": True, "max_position_embeddings": 128}
    config = transformers.Qwen2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, **sizes, **more)
    return made(tmp_path_factory.mktemp("m") / "qwen", transformers.Qwen2ForCausalLM, config)


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A language model with a table of its own, large enough to be made smaller"""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.LlamaConfig(vocab_size=4096, bos_token_id=0, eos_token_id=1, pad_token_id=2, **sizes)
    return made(tmp_path_factory.mktemp("m") / "llama", transformers.LlamaForCausalLM, config)


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """An encoder"""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BertConfig(vocab_size=4352, max_position_embeddings=64, **sizes)
    return made(tmp_path_factory.mktemp("m") / "bert", transformers.BertModel, config)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, qwen, llama, bert):
    """Their graphs in float32, by the name of the folder"""
    work = tmp_path_factory.mktemp("exported")
    kinds = {"qwen": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM", "bert": "BertModel"}
    return {folder.name: export(folder, kinds[folder.name], work / folder.name) for folder in (qwen, llama, bert)}


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store
