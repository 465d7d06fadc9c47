package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNamesOfEveryPublicLayoutAreOne(t *testing.T) {
	const embedding, patches, head = EmbeddingName, "visual.patch_embed.proj.weight", "lm_head.weight"
	for name, want := range map[string]string{
		embedding: embedding, patches: patches, head: head,
		"model.language_model.embed_tokens.weight":                                                         embedding,
		"model.visual.patch_embed.proj.weight":                                                             patches,
		"language_model.model.embed_tokens.weight":                                                         embedding,
		"language_model.lm_head.weight":                                                                    head,
		"module.model.embed_tokens.weight":                                                                 embedding,
		"module.module.visual.patch_embed.proj.weight":                                                     patches,
		"module.model.language_model.embed_tokens.weight":                                                  embedding,
		"base_model.model.model.language_model.embed_tokens.weight":                                        embedding,
		"_orig_mod.model.visual.patch_embed.proj.weight":                                                   patches,
		"module._orig_mod.lm_head.weight":                                                                  head,
		"model.model.embed_tokens.weight":                                                                  embedding,
		"model.language_model._fsdp_wrapped_module.layers.3._checkpoint_wrapped_module.mlp.up_proj.weight": "model.layers.3.mlp.up_proj.weight",
		"model.layers.0.self_attn.q_proj.bias":                                                             "model.layers.0.self_attn.q_proj.bias",
		"text_hidden_fcs.0.2.bias":                                                                         "text_hidden_fcs.0.2.bias",
		"model.model.layers.1.mlp.up_proj.weight":                                                          "model.layers.1.mlp.up_proj.weight",
		"model.lm_head.weight":                                                                             head,
		"model.heatmap.mask_tokens.weight":                                                                 "heatmap.mask_tokens.weight",
		"model.text_hidden_fcs.0.2.bias":                                                                   "text_hidden_fcs.0.2.bias",
		"model.language_model.model.norm.weight":                                                           "model.norm.weight",
		"model.language_model.norm.weight":                                                                 "model.norm.weight",
		"module.heatmap.mask_tokens.weight":                                                                "heatmap.mask_tokens.weight",
	} {
		if got := TensorName(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestAdaptersThatAreNotMergedAreRefused(t *testing.T) {
	const adapter = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
	dir := t.TempDir()
	if err := checkMerged(dir, []string{"model.norm.weight", adapter}); err == nil || !strings.Contains(err.Error(), adapter) {
		t.Errorf("error %v", err)
	}
	whole := []string{"model.norm.weight", "text_hidden_fcs.0.2.bias"}
	if err := checkMerged(dir, whole); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte(`{"peft_type": "LORA"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkMerged(dir, whole); err == nil || !strings.Contains(err.Error(), "merge_and_unload") {
		t.Errorf("beside an adapter: %v", err)
	}
}
