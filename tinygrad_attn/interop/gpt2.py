"""GPT-2 as in Hugging Face's GPT2LMHeadModel.

Its linear layers are Conv1D, whose weights are (d_in, d_out); the projection to the logits is the
token embedding.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from ..models import GPT, GPTConfig
from .layout import Layout, row
from .settings import Settings

LAYOUT = Layout(
    rows=(
        #   ours                                    theirs
        row("wte.weight", "wte.weight"),
        row("wpe.weight", "wpe.weight"),
        row("blocks.{i}.ln_1.weight", "h.{i}.ln_1.weight"),
        row("blocks.{i}.ln_1.bias", "h.{i}.ln_1.bias"),
        row("blocks.{i}.attn.in_proj_weight", "h.{i}.attn.c_attn.weight", transposed=True),
        row("blocks.{i}.attn.in_proj_bias", "h.{i}.attn.c_attn.bias"),
        row("blocks.{i}.attn.out_proj.weight", "h.{i}.attn.c_proj.weight", transposed=True),
        row("blocks.{i}.attn.out_proj.bias", "h.{i}.attn.c_proj.bias"),
        row("blocks.{i}.ln_2.weight", "h.{i}.ln_2.weight"),
        row("blocks.{i}.ln_2.bias", "h.{i}.ln_2.bias"),
        row("blocks.{i}.mlp.up.weight", "h.{i}.mlp.c_fc.weight", transposed=True),
        row("blocks.{i}.mlp.up.bias", "h.{i}.mlp.c_fc.bias"),
        row("blocks.{i}.mlp.down.weight", "h.{i}.mlp.c_proj.weight", transposed=True),
        row("blocks.{i}.mlp.down.bias", "h.{i}.mlp.c_proj.bias"),
        row("ln_f.weight", "ln_f.weight"),
        row("ln_f.bias", "ln_f.bias"),
    ),
    prefix="transformer.",
    heads=("lm_head.",),
    tied={"lm_head.weight": "wte.weight"},
    ignored=r"^h\.\d+\.attn\.(masked_)?bias$",  # the causal mask, in older files
)
MODEL = GPT


def config_here(values: dict[str, Any], names: Set[str]) -> GPTConfig:
    """Their configuration as ours; the `names` of the arrays do not matter."""
    given = Settings(values)
    d_model = given.get("n_embd")
    given.only("activation_function", "gelu_new", "gelu_pytorch_tanh")
    given.only("layer_norm_epsilon", 1e-5)
    given.only("n_inner", None, *([4 * d_model] if isinstance(d_model, int) else []))
    for name, value in (
        ("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False), ("tie_word_embeddings", True),
    ):  # fmt: skip
        given.only(name, value)
    sizes = {
        "vocab_size": given.get("vocab_size"),
        "max_length": given.get("n_positions"),
        "num_layers": given.get("n_layer"),
        "num_heads": given.get("n_head"),
        "d_model": d_model,
        "dropout": given.equal("resid_pdrop", "embd_pdrop", "attn_pdrop", default=0.1),
        "bias": given.get("bias", True),
    }
    given.settle()
    return GPTConfig(**sizes)


def config_there(config: GPTConfig) -> dict[str, Any]:
    """Our configuration as theirs.  `bias` is read by us alone: there are always biases there."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_positions": config.max_length,
        "n_embd": config.d_model,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": True,
        "bias": config.bias,
    }
