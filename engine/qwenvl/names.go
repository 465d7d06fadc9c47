package qwenvl

import "strings"

// wrappers are what training puts around modules: torch.compile, FSDP and
// activation checkpointing anywhere in a name, DistributedDataParallel and PEFT
// before it.
var (
	wrappers        = strings.NewReplacer("_orig_mod.", "", "_fsdp_wrapped_module.", "", "_checkpoint_wrapped_module.", "")
	wrapperPrefixes = []string{"module.", "base_model.model."}
)

// layouts maps the beginnings of names to those of transformers before 4.52, which
// this package asks for.
var layouts = []struct{ prefix, becomes string }{
	{"model.language_model.", "model."}, // transformers from 4.52 on
	{"model.visual.", "visual."},
	{"language_model.model.", "model."}, // the language model as a module of its own
	{"language_model.lm_head.", "lm_head."},
	{"model.model.", "model."}, // the whole model as a module
	{"model.lm_head.", "lm_head."},
}

// TensorName is the name under which this package asks for a tensor that a
// checkpoint calls name, whichever of the public layouts it has.
func TensorName(name string) string {
	name = wrappers.Replace(name)
	for stripped := true; stripped; {
		stripped = false
		for _, prefix := range wrapperPrefixes {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				name, stripped = rest, true
			}
		}
	}
	for _, l := range layouts {
		if rest, ok := strings.CutPrefix(name, l.prefix); ok {
			return l.becomes + rest
		}
	}
	return name
}
