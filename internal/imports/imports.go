// Package imports holds the rules about which folder may import what, and checks
// source trees against them. Its test is the enforcement.
//
// A room is a folder with its subfolders, up to the next room below it. Every
// package of the module belongs to a room. A room may import the standard
// library, itself, and what its rule names; test files may import anything.
package imports

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/denseflow/densereward"

// cgo is what a file imports that has C of its own.
const cgo = "C"

// Everything lifts a rule that names it.
const Everything = "..."

// A Rule says what a room may import beside the standard library: other rooms by
// their folder, libraries by their import path with everything below it.
type Rule struct {
	Room  string
	Rooms []string
	Libs  []string
}

// Rules is the import column of the design.
func Rules() []Rule {
	return slices.Concat(rewardRules(), serverRules(), engineRules(), mathematicsRules(), edgeRules())
}

// rewardRules are those of the reward layer.
func rewardRules() []Rule {
	return []Rule{
		{Room: "reward"},
		{Room: "reward/wire", Rooms: []string{"reward", "reward/wire/bounded"}, Libs: []string{"github.com/vmihailenco/msgpack/v5"}},
		{Room: "reward/wire/bounded", Rooms: []string{"reward"}, Libs: []string{"github.com/vmihailenco/msgpack/v5"}},
		{Room: "reward/wire/boundedjson", Rooms: []string{"reward"}, Libs: []string{"github.com/go-json-experiment/json"}},
		{
			Room:  "reward/wire/jsonwire", // the protocol as JSON
			Rooms: []string{"reward", "reward/wire", "reward/wire/boundedjson"},
			Libs:  []string{"github.com/go-json-experiment/json", "github.com/vmihailenco/msgpack/v5"},
		},
		{
			Room:  "reward/batch",
			Rooms: []string{"reward", "internal/memorylimit"},
			Libs:  []string{"github.com/hashicorp/golang-lru/v2"},
		},
		{Room: "reward/advantages", Rooms: []string{"reward", "dense", "flowgrpo"}},
		{Room: "reward/scoring", Rooms: []string{"reward", "reward/batch", "reward/advantages", "dense", "flowgrpo", "engine/image"}},
		{Room: "reward/groups", Rooms: []string{"reward", "reward/advantages"}},
		{
			Room:  "reward/compat",
			Rooms: []string{"reward", "reward/wire", "reward/wire/boundedjson", "reward/scoring"},
		},
		{Room: "reward/rewardtest", Rooms: []string{"reward"}},
		{Room: "reward/rft", Rooms: []string{"reward", "flowgrpo"}},
		{
			// Offline jobs, their formats and stores.
			Room:  "reward/relabel",
			Rooms: []string{"reward", "reward/wire", "reward/batch", "reward/scoring", "client", "engine/image", "internal/npy"},
			Libs: []string{
				"github.com/parquet-go/parquet-go",
				"github.com/minio/minio-go/v7",       // S3-compatible stores
				"github.com/klauspost/compress/zstd", // .zst
				"github.com/andybalholm/brotli",      // pages of Parquet
				"github.com/x448/float16",
				"github.com/gofrs/flock", // one process a shard
				"golang.org/x/sync/errgroup",
			},
		},
		{Room: "reward/metrics", Rooms: []string{"reward"}, Libs: []string{"gonum.org/v1/gonum"}},
		{Room: "reward/metrics/report", Rooms: []string{"reward", "reward/metrics", "reward/relabel", "reward/drawing", "dense"}},
		{Room: "reward/drawing"},
		{Room: "reward/mix", Rooms: []string{"reward"}},
		{
			Room:  "reward/remote",
			Rooms: []string{"reward", "reward/judge", "reward/wire", "client", "engine/image"},
			Libs:  []string{"github.com/cenkalti/backoff/v5", "github.com/sony/gobreaker/v2"},
		},
		{Room: "reward/judge", Rooms: []string{"reward"}, Libs: []string{"github.com/BurntSushi/toml"}},
	}
}

// serverRules are those of HTTP.
func serverRules() []Rule {
	return []Rule{
		{
			Room:  "reward/server",
			Rooms: []string{"reward", "reward/wire", "reward/wire/jsonwire", "reward/batch", "reward/scoring", "reward/groups", "reward/compat", "reward/rft", "reward/server/budget", "reward/server/places", "reward/server/credentials", "reward/server/contentencoding", "reward/server/jobs", "reward/server/page", "reward/server/recent", "reward/server/watch", "reward/server/front", "reward/server/telemetry", "engine/image"},
			Libs: []string{
				"github.com/labstack/echo/v4", // the only room that may
				"go.opentelemetry.io/otel",    // spans of a request
			},
		},
		{Room: "reward/server/servertest", Rooms: []string{"reward", "reward/batch", "reward/server", "reward/server/credentials", "reward/server/telemetry", "reward/wire"}},
		{Room: "reward/server/attack/items", Rooms: []string{"reward", "reward/wire"}},
		{Room: "reward/server/budget"},
		{Room: "reward/server/places"},
		{Room: "reward/server/front", Rooms: []string{"reward", "reward/server/credentials", "reward/server/places"}},
		{
			Room:  "reward/server/telemetry",
			Rooms: []string{"reward", "reward/batch", "reward/scoring", "reward/server/watch"},
			Libs:  []string{"github.com/prometheus/client_golang"},
		},
		{
			Room: "reward/server/telemetry/otlp",
			Libs: []string{"github.com/prometheus/client_golang", "go.opentelemetry.io/otel", "go.opentelemetry.io/contrib/bridges/prometheus"},
		},
		{Room: "reward/server/contentencoding", Rooms: []string{"reward"}, Libs: []string{"github.com/klauspost/compress"}},
		{Room: "reward/server/credentials"},
		{Room: "reward/server/jobs"},
		{Room: "reward/server/page", Rooms: []string{"reward/drawing"}},
		{Room: "reward/server/recent", Rooms: []string{"reward", "reward/scoring", "dense", "engine/image"}},
		{Room: "reward/server/watch", Rooms: []string{"reward/batch", "reward/groups", "reward/server/recent"}},
	}
}

// engineRules are those of what runs models.
func engineRules() []Rule {
	return []Rule{
		{
			Room:  "engine/ort",
			Rooms: []string{"engine/ort/provision", "engine/ort/kernels", "reward"}, // running out of memory is the scheduler's business
			Libs: []string{
				"github.com/yalue/onnxruntime_go",               // the only room that may: cgo
				"github.com/ebitengine/purego",                  // looks whether CUDA's libraries load
				"google.golang.org/protobuf/encoding/protowire", // a model's inputs and outputs
			},
		},
		{Room: "engine/ort/kernels", Libs: []string{cgo, "github.com/ebitengine/purego"}}, // the only room with C of its own: custom operators
		{
			Room:  "engine/ort/provision",
			Rooms: []string{"internal/download"},
			Libs: []string{
				"github.com/cenkalti/backoff/v5", // downloads that break off
				"github.com/gofrs/flock",         // one process fills the cache
			},
		},
		{Room: "engine/onnx", Libs: []string{"google.golang.org/protobuf"}},
		{Room: "engine/safetensors", Rooms: []string{"internal/modelfile"}},
		{Room: "engine/torchfile", Rooms: []string{"engine/safetensors", "internal/modelfile"}},
		{Room: "engine/initializers", Rooms: []string{"engine/onnx", "engine/safetensors"}}, // one's tensors in the other's graphs
		{Room: "engine/tokenizer", Rooms: []string{"internal/modelfile"}, Libs: []string{"golang.org/x/text"}},
		{
			Room:  "engine/image",
			Rooms: []string{"reward", "internal/floats"}, // reward.Image
			Libs: []string{
				"golang.org/x/image",
				"golang.org/x/sys/cpu",          // whether there is AVX2
				"github.com/klauspost/compress", // inflates PNG files
			},
		},
		{Room: "engine/qwenvl/draft", Rooms: []string{"engine/tokenizer"}},
		{Room: "engine/qwenvl", Rooms: []string{"reward", "engine/qwenvl/checkpoint", "engine/qwenvl/draft", "engine/ort", "engine/onnx", "engine/safetensors", "engine/initializers"}},
		{Room: "engine/qwenvl/checkpoint", Rooms: []string{"reward", "internal/modelfile", "engine/safetensors", "engine/tokenizer"}},
		{Room: "engine/qwenvl/evaluator", Rooms: []string{"reward", "reward/judge", "engine/qwenvl", "engine/qwenvl/checkpoint", "engine/qwenvl/draft", "engine/image", "engine/ort", "engine/onnx", "engine/initializers"}},
		{Room: "engine/qwenvl/qwenvltest", Rooms: []string{"reward", "engine/image", "engine/tokenizer", "internal/npy"}},
		{Room: "engine/imagedoctor", Rooms: []string{"reward", "engine/qwenvl", "engine/qwenvl/checkpoint", "engine/qwenvl/draft", "engine/ort", "engine/onnx", "engine/safetensors", "engine/initializers", "engine/tokenizer", "engine/image"}},
		{Room: "engine/imagedoctor/attach", Rooms: []string{"engine/imagedoctor", "engine/qwenvl/checkpoint", "engine/safetensors"}},
		{Room: "engine/ocr", Rooms: []string{"reward", "engine/ort"}, Libs: []string{"golang.org/x/text", "google.golang.org/protobuf/encoding/protowire"}},
		{Room: "engine/clip", Rooms: []string{"reward", "internal/modelfile", "engine/ort", "engine/onnx", "engine/safetensors", "engine/torchfile", "engine/initializers", "engine/tokenizer", "engine/image"}, Libs: []string{"github.com/hashicorp/golang-lru/v2", "golang.org/x/text"}}, // embeddings of prompts seen lately; text as ftfy mends it
		{
			Room:  "engine/vae", // latents come in .npy files
			Rooms: []string{"reward", "engine/vae/autoencoder", "internal/npy", "internal/floats", "internal/memorylimit", "engine/ort", "engine/onnx", "engine/safetensors"},
		},
		{Room: "engine/vae/autoencoder", Rooms: []string{"engine/onnx", "engine/safetensors", "engine/initializers", "internal/floats", "internal/modelfile"}},
	}
}

// mathematicsRules are those of pure arithmetic.
func mathematicsRules() []Rule {
	return []Rule{
		{Room: "dense", Libs: []string{"gonum.org/v1/gonum"}},
		{Room: "flowgrpo", Libs: []string{"gonum.org/v1/gonum"}},
		{Room: "flowgrpo/trustregion", Rooms: []string{"flowgrpo"}, Libs: []string{"gonum.org/v1/gonum"}},
		{Room: "flowgrpo/forward", Rooms: []string{"flowgrpo"}, Libs: []string{"gonum.org/v1/gonum"}},
		{Room: "flowgrpo/mixgrpo", Rooms: []string{"flowgrpo"}},
		{Room: "flowgrpo/internal/goldens"},
	}
}

// edgeRules are those of clients, programs and what only this module uses.
func edgeRules() []Rule {
	return []Rule{
		{Room: "client", Rooms: []string{"reward", "reward/wire"}},
		{Room: "cmd/densereward", Rooms: []string{Everything}, Libs: []string{Everything}},
		{Room: "examples", Rooms: []string{"client", "reward", "reward/wire", "flowgrpo"}}, // the client's requests are wire's
		{Room: "examples/deploy", Rooms: []string{"engine/ort/provision"}},
		{
			// Measures the server itself, with a stand-in for the evaluator.
			Room:  "examples/peers",
			Rooms: []string{"reward", "reward/wire", "reward/batch", "reward/rewardtest", "reward/server", "reward/server/front", "reward/server/telemetry", "internal/loadgen"},
		},
		{Room: "internal"},
		{Room: "internal/npy"},
		{Room: "internal/nvml", Libs: []string{"github.com/ebitengine/purego"}},
		{Room: "internal/floats"},
		{Room: "internal/memorylimit"},
		{Room: "internal/modelfile"},
		{Room: "internal/memnet"},
		{
			Room: "internal/download",
			Libs: []string{
				"github.com/schollz/progressbar/v3",
				"golang.org/x/term", // a bar is drawn on terminals alone
			},
		},
		{
			Room:  "internal/hub",
			Rooms: []string{"internal/download", "internal/modelfile"},
			Libs: []string{
				"github.com/cenkalti/backoff/v5", // downloads that break off
				"github.com/gofrs/flock",         // the lock that huggingface_hub takes
				"github.com/dustin/go-humanize",
			},
		},
		{Room: "internal/loadgen", Rooms: []string{"reward", "reward/wire"}}, // speaks the protocol
	}
}

// Check reads every Go file of the module rooted at tree, whatever its build
// constraints, and returns a line for each breach of the rules, sorted.
func Check(tree fs.FS, rules []Rule) ([]string, error) {
	var breaches []string
	err := walk(tree, func(name, _ string) error {
		imported, err := importsOf(tree, name)
		if err != nil {
			return err
		}
		breaches = append(breaches, checkFile(name, imported, rules)...)
		return nil
	})
	slices.Sort(breaches)
	return breaches, err
}

// walk visits every Go file of tree that is no test.
func walk(tree fs.FS, visit func(name, folder string) error) error {
	return walkAll(tree, func(name string) error {
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		return visit(name, path.Dir(name))
	})
}

// walkAll visits every Go file of tree.
func walkAll(tree fs.FS, visit func(name string) error) error {
	return fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped(entry.Name()) && name != ".":
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || skipped(entry.Name()):
			return nil
		}
		return visit(name)
	})
}

// skipped reports whether the go command ignores a file or folder of this name.
func skipped(name string) bool {
	return name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

func importsOf(tree fs.FS, name string) ([]string, error) {
	source, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		return nil, fmt.Errorf("imports of %s: %w", name, err)
	}
	var imported []string
	for _, spec := range file.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("imports of %s: %w", name, err)
		}
		imported = append(imported, target)
	}
	return imported, nil
}

func checkFile(name string, imported []string, rules []Rule) []string {
	folder := path.Dir(name)
	rule, ok := ruleFor(folder, rules)
	if !ok {
		return []string{fmt.Sprintf("%s: folder %s belongs to no room", name, folder)}
	}
	var breaches []string
	for _, target := range imported {
		if !allowed(rule, target, rules) {
			breaches = append(breaches, fmt.Sprintf("%s: %s may not import %s", name, rule.Room, target))
		}
	}
	return breaches
}

// ruleFor finds the innermost room that holds folder.
func ruleFor(folder string, rules []Rule) (found Rule, ok bool) {
	for _, rule := range rules {
		if within(folder, rule.Room) && (!ok || len(rule.Room) > len(found.Room)) {
			found, ok = rule, true
		}
	}
	return found, ok
}

func allowed(rule Rule, target string, rules []Rule) bool {
	if target == cgo { // elsewhere it comes in with onnxruntime_go
		return slices.Contains(rule.Libs, cgo)
	}
	if folder, local := strings.CutPrefix(target, Module+"/"); local {
		other, known := ruleFor(folder, rules)
		return known && (other.Room == rule.Room || slices.Contains(rule.Rooms, other.Room) || slices.Contains(rule.Rooms, Everything))
	}
	if first, _, _ := strings.Cut(target, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(rule.Libs, func(lib string) bool { return lib == Everything || within(target, lib) })
}

// within reports whether p is dir or lies below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
