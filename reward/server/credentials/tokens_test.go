package credentials

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const aliceToken = "alice-token-0123456789"

func TestTokenFilesAreChecked(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"an empty file", "", "no token"},
		{"comments alone", "# nobody\n", "no token"},
		{"a short token", "# x\nalice secret\n", "line 2: want a token of at least 16"},
		{"three words", "alice likes " + aliceToken, "line 1: a right that is none of score, metrics, admin"},
		{"a token that no header can carry", "ünsichtbar-ünsichtbar", "line 1: want a token"},
		{"a file of a megabyte and more", strings.Repeat(aliceToken+"\n", 1<<16), "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenTokens(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error gives a token away: %v", err)
			}
		})
	}
	if _, err := OpenTokens(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent file was taken")
	}
}
