package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// wrappers are what training puts around modules: torch.compile, FSDP and
// activation checkpointing anywhere in a name, DistributedDataParallel and PEFT
// before it.
var (
	wrappers        = strings.NewReplacer("_orig_mod.", "", "_fsdp_wrapped_module.", "", "_checkpoint_wrapped_module.", "")
	wrapperPrefixes = []string{"module.", "base_model.model."}
)

// languageModules are what the language model consists of, which this package asks
// for as model.NAME.
var languageModules = []string{"embed_tokens", "layers", "norm"}

// TensorName is the name under which this package asks for a tensor that a
// checkpoint calls name, in whichever of the public layouts: model.layers and visual
// as transformers had them before 4.52; model.language_model and model.visual since;
// language_model.model and language_model.lm_head; all of these, and heads, in one
// more model; and each within what training puts around modules.
func TensorName(name string) string {
	name = wrappers.Replace(name)
	for {
		var changed bool
		if name, changed = outer(name); !changed {
			return name
		}
	}
}

// outer takes the outermost module off a name that this package does not have.
func outer(name string) (inner string, changed bool) {
	for _, prefix := range wrapperPrefixes {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return rest, true
		}
	}
	if rest, ok := strings.CutPrefix(name, "model."); ok {
		if module, _, _ := strings.Cut(rest, "."); !slices.Contains(languageModules, module) {
			return rest, true
		}
		return name, false
	}
	rest, ok := strings.CutPrefix(name, "language_model.")
	if !ok {
		return name, false
	}
	if module, _, _ := strings.Cut(rest, "."); slices.Contains(languageModules, module) {
		return "model." + rest, true
	}
	return rest, true
}

// adapterFile is what PEFT writes beside an adapter's weights.
const adapterFile = "adapter_config.json"

// checkMerged refuses checkpoints with adapters among the tensors, or in a file of their
// own: without them the model would answer as before it was tuned. transformers applies
// the latter to the model that the file names, whatever other weights lie beside it.
func checkMerged(dir string, names []string) error {
	switch _, err := os.Stat(filepath.Join(dir, adapterFile)); {
	case err == nil:
		return fmt.Errorf("holds %s: a LoRA adapter must be merged into the weights first (PEFT's merge_and_unload); where it was, remove that file", adapterFile)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	at := slices.IndexFunc(names, func(name string) bool {
		return strings.Contains(name, ".lora_A.") || strings.Contains(name, ".lora_magnitude_vector")
	})
	if at < 0 {
		return nil
	}
	return fmt.Errorf("tensor %s: LoRA adapters must be merged into the weights first (PEFT's merge_and_unload)", names[at])
}
