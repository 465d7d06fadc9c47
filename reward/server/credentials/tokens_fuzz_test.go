package credentials

import (
	"strings"
	"testing"
)

// FuzzTokenFile checks that no file makes parseTokens panic, let in a token that
// no header can carry, or give a token away in its error.
func FuzzTokenFile(f *testing.F) {
	f.Add([]byte("# trainers\nalice 0123456789abcdef\n\n0123456789abcdefg"))
	f.Add([]byte("a b c"))
	f.Add([]byte("secretsecretsecret\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		owners, err := parseTokens(data)
		if (err == nil) != (len(owners) > 0) {
			t.Errorf("%d owners and error %v", len(owners), err)
		}
		if err == nil {
			return
		}
		for _, word := range strings.Fields(string(data)) {
			if len(word) >= minToken && strings.Contains(err.Error(), word) {
				t.Errorf("the error holds a word of the file: %v", err)
			}
		}
	})
}
