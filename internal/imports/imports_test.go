package imports

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	breaches, err := Check(os.DirFS(root), Rules())
	if err != nil {
		t.Fatal(err)
	}
	for _, breach := range breaches {
		t.Error(breach)
	}
}

// Every room imports the leaf, and has what it imports linked into its test program.
func TestTheLeafNeedsNoHTTP(t *testing.T) {
	names, err := fs.Glob(os.DirFS(root), "reward/*.go")
	if err != nil || len(names) < 10 {
		t.Fatalf("files %v, %v", names, err)
	}
	for _, name := range names {
		imported, err := importsOf(os.DirFS(root), name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") && slices.Contains(imported, "net/http") {
			t.Errorf("%s imports net/http", name)
		}
	}
}

// The top level of the repository is part of the design, but for what git ignores there:
// lines of .gitignore that begin with a slash.
func TestTopLevelHoldsNothingElse(t *testing.T) {
	known := []string{"ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "client", "cmd", "dense", "docs", "engine", "examples", "flowgrpo", "go.mod", "go.sum", "internal", "reward"}
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(ignored)) {
		if name, anchored := strings.CutPrefix(strings.TrimSpace(line), "/"); anchored {
			known = append(known, strings.TrimSuffix(name, "/"))
		}
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "go.mod" }) {
		t.Fatalf("%s is not the root of the module", root)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") && !slices.Contains(known, entry.Name()) {
			t.Errorf("%s does not belong at the top level", entry.Name())
		}
	}
}

func TestCheck(t *testing.T) {
	const local = Module + "/"
	tests := []struct {
		name    string
		file    string
		imports []string
		want    string // the breach; none where empty
	}{
		{"the standard library is free", "dense/a.go", []string{"fmt", "net/http", "math/rand/v2"}, ""},
		{"a named library is free", "dense/a.go", []string{"gonum.org/v1/gonum/stat"}, ""},
		{"another library is not", "dense/a.go", []string{"github.com/labstack/echo/v4"},
			"dense/a.go: dense may not import github.com/labstack/echo/v4"},
		{"a library with a name that only begins alike is not", "dense/a.go", []string{"gonum.org/v1/gonumx"},
			"dense/a.go: dense may not import gonum.org/v1/gonumx"},
		{"a named room is free", "client/a.go", []string{local + "reward"}, ""},
		{"the room below a named room is not", "client/a.go", []string{local + "reward/server"},
			"client/a.go: client may not import " + local + "reward/server"},
		{"the leaf may not import a room below it", "reward/a.go", []string{local + "reward/batch"},
			"reward/a.go: reward may not import " + local + "reward/batch"},
		{"a subfolder belongs to its room", "engine/onnx/onnxpb/a.go", []string{"google.golang.org/protobuf/proto", local + "engine/onnx"}, ""},
		{"a room may import its subfolder", "engine/onnx/a.go", []string{local + "engine/onnx/onnxpb"}, ""},
		{"a named room's subfolder is free", "engine/imagedoctor/a.go", []string{local + "engine/onnx/onnxpb"}, ""},
		{"the command may import all", "cmd/densereward/a.go", []string{local + "engine/ort", "github.com/alecthomas/kong"}, ""},
		{"cgo by hand is forbidden even there", "cmd/densereward/a.go", []string{"C"}, "cmd/densereward/a.go: cmd/densereward may not import C"},
		{"only one room may use the runtime", "engine/vae/a.go", []string{"github.com/yalue/onnxruntime_go"},
			"engine/vae/a.go: engine/vae may not import github.com/yalue/onnxruntime_go"},
		{"a folder outside all rooms is reported", "util/a.go", nil, "util/a.go: folder util belongs to no room"},
		{"importing a folder outside all rooms is reported", "client/a.go", []string{local + "util"},
			"client/a.go: client may not import " + local + "util"},
		{"test files are free", "dense/a_test.go", []string{"github.com/labstack/echo/v4"}, ""},
		{"test data is not read", "dense/testdata/a.go", []string{"github.com/labstack/echo/v4"}, ""},
		{"build constraints do not hide a file", "dense/a_windows.go", []string{"golang.org/x/sys/windows"},
			"dense/a_windows.go: dense may not import golang.org/x/sys/windows"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := "package p\n"
			for _, target := range test.imports {
				source += "import _ \"" + target + "\"\n"
			}
			tree := fstest.MapFS{test.file: {Data: []byte(source)}}
			got, err := Check(tree, Rules())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(got, "\n") != test.want {
				t.Errorf("breaches %q, want %q", got, test.want)
			}
		})
	}
}

func TestCheckReportsAFileThatDoesNotParse(t *testing.T) {
	tree := fstest.MapFS{"dense/a.go": {Data: []byte("not go")}}
	if _, err := Check(tree, Rules()); err == nil || !strings.Contains(err.Error(), "dense/a.go") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestRulesAllowNothingThatIsUnused(t *testing.T) {
	unused, err := Unused(os.DirFS(root), Rules())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range unused {
		t.Error(line)
	}
}

func TestNoFolderIsTooLarge(t *testing.T) {
	large, err := Oversized(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range large {
		t.Error(line)
	}
}

func TestWhatIsUnusedOrTooLargeIsReported(t *testing.T) {
	tree := fstest.MapFS{
		"a/a.go":      {Data: []byte("package a\nimport _ \"" + Module + "/b\"\n")},
		"a/a_test.go": {Data: []byte("package a\nimport _ \"" + Module + "/c\"\n" + strings.Repeat("\n", 3000))},
		"b/b.go":      {Data: []byte("package b\n" + strings.Repeat("\n", MaxLines))},
		"b/pb/b.go":   {Data: []byte("// Code generated by hand.\npackage pb\n" + strings.Repeat("\n", MaxLines))},
	}
	for i := range MaxFiles + 1 {
		tree[fmt.Sprintf("c/%d.go", i)] = &fstest.MapFile{Data: []byte("package c\n")}
	}
	rules := []Rule{{Room: "a", Rooms: []string{"b", "c"}, Libs: []string{"example.org/x"}}, {Room: "b"}, {Room: "c"}, {Room: "d"}}
	unused, err := Unused(tree, rules)
	want := []string{"a may import c and does not", "a may import example.org/x and does not", "d has no Go file"}
	if err != nil || !slices.Equal(unused, want) {
		t.Errorf("unused %q, %v, want %q", unused, err, want)
	}
	large, err := Oversized(tree)
	if err != nil || !slices.Equal(large, []string{"b has 2501 lines without tests, at most 2500", "c has 41 Go files, at most 40"}) {
		t.Errorf("large %q, %v", large, err)
	}
}

var update = flag.Bool("update", false, "write the diagram of ARCHITECTURE.md")

func TestTheArchitecturesDiagramIsThatOfTheRules(t *testing.T) {
	const path, begin, end = root + "/ARCHITECTURE.md", "```text\n", "```\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatal("ARCHITECTURE.md holds no diagram")
	}
	want := before + begin + Diagram(Rules()) + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(page) {
		t.Error("ARCHITECTURE.md shows other rules: go test ./internal/imports -update")
	}
}
