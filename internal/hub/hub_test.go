package hub

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var model = Reference{ID: "org/model", Revision: MainRevision}

// weights picks what the tests' model needs.
func weights(names []string, _ func(string) ([]byte, error)) ([]string, error) {
	if !slices.Contains(names, "config.json") || !slices.Contains(names, "model.safetensors") {
		return nil, errors.New("no model")
	}
	return []string{"config.json", "model.safetensors"}, nil
}

// holds fails unless a snapshot has exactly these files of the hub.
func (h *fakeHub) holds(t *testing.T, dir string, names ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		got = append(got, filepath.ToSlash(name))
		data, err := os.ReadFile(path)
		if string(data) != h.files[filepath.ToSlash(name)] {
			t.Errorf("%s has another content", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if slices.Sort(names); !slices.Equal(got, names) {
		t.Errorf("the snapshot holds %q, want %q", got, names)
	}
}

func TestWhatIsPickedIsDownloadedOnceAndThenUsedInPlace(t *testing.T) {
	h := newFakeHub(t)
	h.token = "hf_secret"
	s := h.cached(t)
	found, err := s.Find(t.Context(), model, weights)
	if err != nil {
		t.Fatal(err)
	}
	h.holds(t, found.Path, "config.json", "model.safetensors")
	if want := int64(len(h.files["config.json"]) + len(h.files["model.safetensors"])); found.Fetched != want || found.Commit != h.commit {
		t.Errorf("fetched %d bytes of %s, want %d", found.Fetched, found.Commit, want)
	}
	if h.leaked {
		t.Error("the token was sent to the host of large files")
	}
	h.asked()
	again, err := s.Find(t.Context(), model, weights)
	if err != nil || again.Path != found.Path || again.Fetched != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if asked := h.asked(); asked != nil {
		t.Errorf("the second time it asked %q", asked)
	}
	s.Offline = true
	if _, err := s.Find(t.Context(), model, weights); err != nil {
		t.Errorf("offline: %v", err)
	}
}

func TestAFetchFollowsABranchAndAFindDoesNot(t *testing.T) {
	h := newFakeHub(t)
	s := h.cached(t)
	first, err := s.Find(t.Context(), model, weights)
	if err != nil {
		t.Fatal(err)
	}
	pinned := model
	pinned.Revision = h.commit
	h.commit = strings.Repeat("d", 40)
	h.files["config.json"] = `{"model_type": "clip", "newer": true}`
	if found, err := s.Find(t.Context(), model, weights); err != nil || found.Path != first.Path {
		t.Errorf("find: %+v, %v", found, err)
	}
	moved, err := s.Fetch(t.Context(), model, weights)
	if err != nil || moved.Path == first.Path || moved.Fetched != int64(len(h.files["config.json"])) {
		t.Errorf("fetch: %+v, %v; the weights are the same and lie there", moved, err)
	}
	h.holds(t, moved.Path, "config.json", "model.safetensors")
	if found, err := s.Find(t.Context(), pinned, weights); err != nil || found.Path != first.Path {
		t.Errorf("the pinned commit: %+v, %v", found, err)
	}
}

func TestDownloadsGoOnWhereTheyEnded(t *testing.T) {
	tests := []struct {
		name string
		set  func(h *fakeHub)
		want string // the last request
	}{
		{"after a connection that broke", func(h *fakeHub) { h.cuts["model.safetensors"] = 5000 }, "GET /model.safetensors bytes=5000-"},
		{"from the start where the server knows no ranges", func(h *fakeHub) { h.deaf, h.cuts["model.safetensors"] = true, 5000 }, "GET /model.safetensors bytes=5000-"},
		{"after answers that there is too much to do", func(h *fakeHub) { h.busy = 3 }, "GET /model.safetensors"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newFakeHub(t)
			test.set(h)
			found, err := h.cached(t).Find(t.Context(), model, weights)
			if err != nil {
				t.Fatal(err)
			}
			h.holds(t, found.Path, "config.json", "model.safetensors")
			if asked := h.asked(); asked[len(asked)-1] != test.want {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

func TestAnotherProcessGoesOnWithAnIncompleteFile(t *testing.T) {
	for name, lying := range map[string]string{
		"its beginning": "right", "of another content": "wrong", "longer than the file": "longer", "whole": "whole",
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			s := h.cached(t)
			content := h.files["model.safetensors"]
			switch lying {
			case "right":
				lying = content[:1000]
			case "longer":
				lying = content + "x"
			case "whole":
				lying = content
			}
			blobs := filepath.Join(s.Cache, "models--org--model", "blobs")
			if err := os.MkdirAll(blobs, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(blobs, digestOf("model.safetensors", content)+".incomplete"), []byte(lying), 0o644); err != nil {
				t.Fatal(err)
			}
			found, err := s.Find(t.Context(), model, weights)
			if err != nil {
				t.Fatal(err)
			}
			h.holds(t, found.Path, "config.json", "model.safetensors")
		})
	}
}

func TestAFileThatIsNotWhatItsDigestSaysIsRefused(t *testing.T) {
	for name, garbage := range map[string]string{
		"as long": strings.Repeat("x", 1<<16), "longer": strings.Repeat("x", 1<<17),
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			s := h.cached(t)
			h.garbage = garbage
			h.files = map[string]string{"config.json": garbage[:1<<16], "model.safetensors": h.files["model.safetensors"]}
			pick := func([]string, func(string) ([]byte, error)) ([]string, error) {
				return []string{"model.safetensors"}, nil
			}
			if _, err := s.Find(t.Context(), model, pick); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "model.safetensors") {
				t.Errorf("got %v", err)
			}
			h.garbage = ""
			found, err := s.Find(t.Context(), model, pick)
			if err != nil {
				t.Fatal(err)
			}
			h.holds(t, found.Path, "model.safetensors")
		})
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	tests := []struct {
		name, code   string
		status       int
		said, token  string
		is           error
		says, sayNot string
	}{
		{name: "gated", code: "GatedRepo", status: 403, said: "Access to model org/model is restricted", is: ErrDenied, says: "accept its terms at"},
		{name: "gated, without a token", code: "GatedRepo", status: 401, is: ErrDenied, says: "HF_TOKEN must hold"},
		{name: "no such model", code: "RepoNotFound", status: 401, is: ErrNotFound, says: "has no model org/model, or it is private"},
		{name: "no such model, by a mirror", status: 404, is: ErrNotFound, says: "has no model org/model"},
		{name: "no such revision", code: "RevisionNotFound", status: 404, is: ErrNotFound, says: "no revision main"},
		{name: "a wrong token", status: 401, said: "Invalid credentials in Authorization header", token: "hf_old", is: ErrDenied, says: "does not take the token", sayNot: "hf_old"},
		{name: "forbidden", status: 403, said: "Forbidden by policy", is: ErrDenied, says: "Forbidden by policy"},
		{name: "a hub that is down", status: 503, is: ErrUnreachable, says: "503"},
		{name: "too many requests", status: 429, is: ErrUnreachable, says: "429"},
		{name: "a teapot", status: 418, is: ErrUnreachable, says: "418"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newFakeHub(t)
			h.code, h.status, h.said, h.token = test.code, test.status, test.said, test.token
			_, err := h.cached(t).Find(t.Context(), model, weights)
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "org/model") {
				t.Errorf("got %v", err)
			}
			if test.sayNot != "" && strings.Contains(err.Error(), test.sayNot) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestMirrorsThatListNamesAloneAreAskedForEachFile(t *testing.T) {
	h := newFakeHub(t)
	h.sparse = true
	s := h.cached(t)
	found, err := s.Find(t.Context(), model, weights)
	if err != nil {
		t.Fatal(err)
	}
	h.holds(t, found.Path, "config.json", "model.safetensors")
	if h.hub.Close(); err == nil {
		if found, err = s.Find(t.Context(), model, weights); err != nil || found.Fetched != 0 {
			t.Errorf("without the hub: %+v, %v", found, err)
		}
	}
}

func TestACacheThatCannotBeWrittenIsUsedAndNotTouched(t *testing.T) {
	h := newFakeHub(t)
	s := h.cached(t)
	found, err := s.Find(t.Context(), model, weights)
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, s.Cache)
	for _, offline := range []bool{false, true} {
		s.Offline = offline
		if again, err := s.Find(t.Context(), model, weights); err != nil || again.Path != found.Path {
			t.Errorf("offline %v: %+v, %v", offline, again, err)
		}
	}
	s.Offline = false
	if _, err := s.Fetch(t.Context(), model, weights); err != nil {
		t.Error(err)
	}
	if after := tree(t, s.Cache); !slices.Equal(before, after) {
		t.Errorf("the cache changed from %q to %q", before, after)
	}
}

// tree lists a folder with the times of its files and the targets of its links.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		lines = append(lines, strings.TrimPrefix(path, dir)+" "+info.ModTime().String()+" "+target)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestOfflineNothingIsAskedFor(t *testing.T) {
	h := newFakeHub(t)
	s := h.cached(t)
	s.Offline = true
	if _, err := s.Find(t.Context(), model, weights); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), s.Cache) {
		t.Errorf("got %v", err)
	}
	s.Offline = false
	if _, err := s.Find(t.Context(), model, func([]string, func(string) ([]byte, error)) ([]string, error) { return []string{"config.json"}, nil }); err != nil {
		t.Fatal(err)
	}
	s.Offline = true
	h.asked()
	if _, err := s.Find(t.Context(), model, weights); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("with a part of it in the cache: %v", err)
	}
	if asked := h.asked(); asked != nil {
		t.Errorf("asked %q", asked)
	}
}

func TestFoldersAndFilesOfARepository(t *testing.T) {
	h := newFakeHub(t)
	s := h.cached(t)
	all := func(names []string, _ func(string) ([]byte, error)) ([]string, error) { return names, nil }
	folder := model
	folder.Path = "vae"
	found, err := s.Find(t.Context(), folder, all)
	if err != nil || filepath.Base(found.Path) != "vae" {
		t.Fatalf("%+v, %v", found, err)
	}
	h.holds(t, filepath.Dir(found.Path), "vae/config.json")
	file := model
	file.Path = "model.safetensors"
	if found, err = s.Find(t.Context(), file, weights); err != nil || filepath.Base(found.Path) != file.Path {
		t.Fatalf("%+v, %v", found, err)
	}
	h.holds(t, filepath.Dir(found.Path), "vae/config.json", "model.safetensors", "config.json")
	file.Path = "no.safetensors"
	if _, err = s.Find(t.Context(), file, weights); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestNamesThatLeadOutOfTheCacheAreRefused(t *testing.T) {
	for _, name := range []string{"../../x.json", "/etc/x.json", "a/../../x.json", `a\..\x.json`, "C:x.json", "a//x.json"} {
		h := newFakeHub(t)
		h.files[name] = "{}"
		if _, err := h.cached(t).Find(t.Context(), model, weights); err == nil || !strings.Contains(err.Error(), "leads out") {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestReferences(t *testing.T) {
	commit := strings.Repeat("a", 40)
	for text, want := range map[string]Reference{
		"org/model":                            {"org/model", "main", ""},
		"org/model@v1.0":                       {"org/model", "v1.0", ""},
		"hf://org/model":                       {"org/model", "main", ""},
		"hf://org/model/":                      {"org/model", "main", ""},
		"hf://org/model@" + commit + "/a/b.pt": {"org/model", commit, "a/b.pt"},
		"hf://org/model@refs/pr/7/vae":         {"org/model", "refs/pr/7", "vae"},
		"hf://org/model@feature%2Fx/vae":       {"org/model", "feature/x", "vae"},
		"Qwen/Qwen2.5-VL-3B-Instruct":          {"Qwen/Qwen2.5-VL-3B-Instruct", "main", ""},
	} {
		got, err := ParseReference(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if again, err := ParseReference(got.String()); err == nil && again != got {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, text := range []string{
		"", "model", "/org/model", "org/model/x", "./model", "../model", "org/..", "org/model@", "org/model@../x", "hf://", "hf://org",
		"hf://org/model/../x", "http://host/x", "pick=1,ocr=0.5", "a--b/c", "org/mo del", `org\model`, strings.Repeat("a", 2000) + "/b",
	} {
		if got, err := ParseReference(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

func TestAPathOfThisMachineIsNoReference(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("models/clip", 0o755); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]bool{
		"models/clip": false, "models/mistyped": false, "org/model": true, "hf://models/clip": true, "/abs/path": false, "": false,
		"http://127.0.0.1:1/v1": false, "a.safetensors": false,
	} {
		if got := Refers(source); got != want {
			t.Errorf("%q: got %v", source, got)
		}
	}
}

func TestTheEnvironmentIsReadAsHuggingFaceHubDoes(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.MkdirAll(filepath.Join(home, "hf"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "hf", "token"), []byte("hf_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		set  map[string]string
		want Store
	}{
		{"nothing", nil, Store{Endpoint: DefaultEndpoint, Cache: filepath.Join(home, ".cache/huggingface/hub")}},
		{"HF_HOME, with its token", map[string]string{"HF_HOME": "~/hf"}, Store{Endpoint: DefaultEndpoint, Cache: filepath.Join(home, "hf/hub"), Token: "hf_file"}},
		{"HF_TOKEN before the file", map[string]string{"HF_HOME": "~/hf", "HF_TOKEN": " hf_env "}, Store{Endpoint: DefaultEndpoint, Cache: filepath.Join(home, "hf/hub"), Token: "hf_env"}},
		{"no token unasked", map[string]string{"HF_HOME": "~/hf", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, Store{Endpoint: DefaultEndpoint, Cache: filepath.Join(home, "hf/hub")}},
		{"HF_HUB_CACHE and a mirror", map[string]string{"HF_HUB_CACHE": "$X/c", "X": "/x", "HF_ENDPOINT": "https://mirror/"}, Store{Endpoint: "https://mirror", Cache: "/x/c"}},
		{"XDG_CACHE_HOME, offline", map[string]string{"XDG_CACHE_HOME": "/cache", "HF_HUB_OFFLINE": "yes"}, Store{Endpoint: DefaultEndpoint, Cache: "/cache/huggingface/hub", Offline: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := FromEnvironment(func(name string) string { return test.set[name] })
			if err != nil {
				t.Fatal(err)
			}
			if got.Endpoint != test.want.Endpoint || got.Cache != test.want.Cache || got.Token != test.want.Token || got.Offline != test.want.Offline {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
