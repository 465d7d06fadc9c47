package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestModelRandomSaysWhatItWrote(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "random")
	code, out, said := densereward(t, "model", "random", "-like", "nano", "-seed", "7", dir)
	if code != exitOK || said != "" || !strings.Contains(out, dir+": 1.61 MB") || !strings.Contains(out, "nano checkpoint, seed 7") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors.index.json")); err != nil {
		t.Error(err)
	}
}

func TestModelRandomRefusesWhatMakesNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"like nothing known":       {[]string{"-like", "giant", t.TempDir()}, exitUsage, "--like must be one of"},
		"like nothing":             {[]string{t.TempDir()}, exitUsage, "--like"},
		"no folder":                {[]string{"-like", "nano"}, exitUsage, "<dir>"},
		"a folder with files":      {[]string{"-like", "nano", "."}, exitFailure, "is not empty"},
		"a seed that is no number": {[]string{"-like", "nano", "-seed", "x", t.TempDir()}, exitUsage, "--seed"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, said := densereward(t, append([]string{"model", "random"}, c.args...)...)
			if code != c.code || out != "" || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, want %d with %q: %s%s", code, c.code, c.want, out, said)
			}
		})
	}
}

func TestModelInitRefusesWhatIsNoPlainCheckpoint(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"an ImageDoctor":     {[]string{"../../engine/imagedoctor/nano", filepath.Join(t.TempDir(), "doctor")}, exitFailure, "not a plain Qwen2.5-VL"},
		"heads of no width":  {[]string{"-head-width", "x", "a", "b"}, exitUsage, "--head-width"},
		"no folder to write": {[]string{"a"}, exitUsage, "<dir>"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, said := densereward(t, append([]string{"model", "init"}, c.args...)...)
			if code != c.code || out != "" || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, want %d with %q: %s%s", code, c.code, c.want, out, said)
			}
		})
	}
}

func TestModelFetchRefusesWhatMakesNoSense(t *testing.T) {
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_OFFLINE", "1")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no model of the hub": {[]string{"model", "fetch", "./checkpoint"}, exitUsage, "no model of the hub such as"},
		"no revision":         {[]string{"model", "fetch", "org/model", "--revision", "../x"}, exitUsage, "--revision"},
		"no downloads":        {[]string{"model", "fetch", "org/model"}, exitFailure, "downloads are forbidden"},
		"a checkpoint that is not in the cache": {
			[]string{"score", "--model", "org/model@v1", "--prompt", "x", "demo/star.png"}, exitFailure, "org/model@v1 is not in the cache",
		},
		"a decoder that is not in the cache": {
			[]string{"score", "--vae", "hf://org/model/vae", "--prompt", "x", "demo/star.png"}, exitFailure, "vae model: hub: hf://org/model/vae is not in the cache",
		},
		"a head that is not in the cache": {
			[]string{"score", "--evaluator", `{"name": "a", "kind": "aesthetic", "source": "x", "head": "hf://org/model/head.pth"}`, "--prompt", "x", "demo/star.png"}, exitFailure, "head: hub",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, said := densereward(t, c.args...)
			if code != c.code || out != "" || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, want %d with %q: %s%s", code, c.code, c.want, out, said)
			}
		})
	}
}
