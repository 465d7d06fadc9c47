package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServeCheckComparesFilesBeforeItLoads(t *testing.T) {
	dir := t.TempDir()
	sums := strings.Repeat("0", 64) + "  config.json\n" + strings.Repeat("1", 64) + "  model.safetensors\n"
	for name, text := range map[string]string{"config.json": "{}", "SHA256SUMS": sums} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, _, said := densereward(t, "serve", "-check", "-listen", "127.0.0.1:0", "-model", dir)
	if code == exitOK || !strings.Contains(said, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a") ||
		!strings.Contains(said, "model.safetensors is missing") {
		t.Errorf("exit code %d, said %q", code, said)
	}
}
